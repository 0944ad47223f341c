import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { slow } from '../fixtures/connected-guest.js'
import { sshd } from '../systems/nixos/guest.js'
import { everything, type NixosBox, nixosBox } from './nixos-box.js'

const hello = (mark: string) => `[Service]\nExecStart=/bin/sh -c ': ${mark}; exec sleep infinity'\n`
const system = (mark: string) => ({ services: sshd, units: { 'hello.service': hello(mark) } })

let box: NixosBox
/** A separate store of the operator, which no other program uses. */
let store: { readonly NIX_REMOTE: string }
beforeAll(async () => {
  box = await nixosBox(system('first'))
  store = { NIX_REMOTE: join(box.operator.folder, 'store') }
  // NixOS has these GC roots, but Debian does not.
  await box.guest.sh(`for each in current booted; do
  ln -sfnT "/run/$each-system" "/nix/var/nix/gcroots/$each-system"
done`)
})
afterAll(() => box?.dispose())

async function succeed(verb: string, ...flags: string[]): Promise<string> {
  const ended = await box.run(verb, ['--yes', '--confirm-timeout', '300', ...flags], { env: store })
  expect(ended.code, everything(ended)).toBe(0)
  await box.guest.guest.reconnect()
  return everything(ended)
}

/** Starts a deploy in a separate process. */
function begin() {
  let child: ChildProcess | undefined
  const ended = box.run('deploy', ['--yes', '--confirm-timeout', '300'], {
    env: store,
    onSpawn: (process) => {
      child = process
    },
  })
  return { ended, kill: () => child?.kill('SIGKILL') }
}

/** Collects garbage on the machine, including all old generations, and then on the operator host. */
async function collectGarbage(): Promise<void> {
  await box.guest.guest.reconnect()
  const dead = await box.guest.sh(`echo dead > /tmp/dead; dead=$(nix-store --add /tmp/dead)
nix-collect-garbage -d > /dev/null 2>&1
ls -d "$dead" 2> /dev/null || true`)
  // The collection ran, so every remaining path has a GC root.
  expect(dead).toBe('')
  const gc = await box.operator.program(['nix-store', '--gc'], { env: store })
  expect(gc.code, everything(gc)).toBe(0)
}

const runs = () => box.guest.sh("systemctl cat hello.service | sed -n 's/.*: \\(.*\\);.*/\\1/p'")

/** Waits until a script succeeds on the machine, over the test's own connection. */
const until = (script: string) => vi.waitFor(() => box.guest.sh(script), slow)

async function expectDeployed(mark: string): Promise<void> {
  const { current, profile, bootDefault, timers } = await box.guest.look()
  expect({ profile, bootDefault, timers }).toEqual({ profile: current, bootDefault: current, timers: '0' })
  expect(await runs()).toBe(mark)
}

describe('a garbage collection on machine and operator', () => {
  it('leaves the way back and the next deploy if nothing is under way', async () => {
    await succeed('deploy', '--replace-unknown')
    box.want(system('second'))
    await succeed('deploy')
    await collectGarbage()
    await succeed('rollback')
    await expectDeployed('first')
    await collectGarbage()
    await succeed('deploy')
    await expectDeployed('second')
  })

  it('between the copy and the activation of a deploy that died leaves the same', async () => {
    box.want(system('third'))
    // The activation, which follows the copy, waits for this lock.
    const lock = '/var/lib/hydra-ops/activations'
    await box.guest.sh(
      `systemd-run --quiet --unit=held flock ${lock} sleep infinity; until ! flock -n ${lock} true; do sleep 0.1; done`,
    )
    const deploy = begin()
    await until(`pgrep -f 'flock -w 30' > /dev/null`)
    deploy.kill()
    await deploy.ended
    await box.guest.sh('systemctl stop held')
    await collectGarbage()
    await succeed('rollback')
    await expectDeployed('first')
    await succeed('deploy')
    await expectDeployed('third')
  })

  it('during a trial leaves the trial, the way back and the next deploy', async () => {
    box.want(
      system('fourth'),
      'deployment.healthChecks.cmd = [ { cmd = [ "sh" "-c" "touch /run/asked; test -e /run/go" ]; period = 1; total = 600; } ];',
    )
    const deploy = begin()
    await until('test -e /run/asked')
    await collectGarbage()
    await box.guest.sh('touch /run/go')
    const ended = await deploy.ended
    expect(ended.code, everything(ended)).toBe(0)
    await expectDeployed('fourth')
    await succeed('rollback')
    await expectDeployed('third')
    await succeed('deploy')
    await expectDeployed('fourth')
  })

  it('after a deploy that died during its trial leaves the way back and the next deploy', async () => {
    await box.guest.sh('rm /run/asked /run/go')
    box.want(
      system('fifth'),
      'deployment.healthChecks.cmd = [ { cmd = [ "sh" "-c" "touch /run/asked; test -e /run/go" ]; period = 1; total = 600; } ];',
    )
    const deploy = begin()
    await until('test -e /run/asked')
    deploy.kill()
    await deploy.ended
    await collectGarbage()
    await succeed('rollback')
    await expectDeployed('fourth')
    await box.guest.sh('touch /run/go')
    await succeed('deploy')
    await expectDeployed('fifth')
    await collectGarbage()
    await succeed('rollback')
    await expectDeployed('fourth')
  })
})

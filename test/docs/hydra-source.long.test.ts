import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { debianProfile } from '../../src/core/machine-places.js'
import { document, HydraNetwork, heading } from './hydra-network.js'
import { commandsIn } from './shell-commands.js'
import { missingLine, stepsOf } from './walkthrough.js'

/**
 * The unchanged commands of docs/hydra-source.md, in order, in one shell, on three guests that the commands create.
 * Later tests push changes. HYDRA_OPS_HYDRA_PACKAGE names another Hydra that replaces the stand-in.
 */
const steps = stepsOf(document)
const minutes = 60_000
/** A deploy of two machines, one of them a whole Hydra, runs under emulation on a busy host. */
const stepMs = 50 * minutes

let network: HydraNetwork

beforeAll(async () => {
  network = await HydraNetwork.start()
})
afterAll(() => network?.dispose(), stepMs)

const onWeb = (command: string) => network.on('web', command)
const running = () => onWeb(`readlink -e ${debianProfile}`)

describe('the walkthrough', () => {
  it('has at most ten lines to type', () => {
    const lines = steps.flatMap(({ commands }) => commands.replaceAll('\\\n', '').split('\n'))
    expect(steps.every((step) => step.heading === heading)).toBe(true)
    expect(lines.length).toBeLessThanOrEqual(10)
    expect(lines.every((line) => commandsIn(line).length > 0)).toBe(true)
  })

  it.each(steps.map((step) => [step.commands.split('\n')[0] ?? '', step] as const))(
    'has steps that work: %s',
    async (_, { commands, prints }) => {
      const output = await network.shell.run(commands, stepMs)
      expect(missingLine(prints, output), output).toBeUndefined()
    },
    stepMs,
  )
})

describe('the first system of a machine', () => {
  it('was built on the builder, as the journal of the queue runner shows, and so did its status', async () => {
    const said = await network.on('ci', 'journalctl -u hydra-queue-runner -o cat --no-pager')
    for (const name of ['greet', 'hydra-ops-web', 'release'])
      expect(said).toMatch(
        new RegExp(`^performing step ‘/nix/store/[^’]*-${name}\\.drv’ 1 times on ‘nix-builder@builder’`, 'm'),
      )
    const { machines } = await network.queueRunner()
    expect(machines['nix-builder@builder']?.nrStepsDone).toBeGreaterThan(0)
  })

  it('lies signed in the cache alone, neither in the store of Hydra’s machine nor on the operator host', async () => {
    const path = await running()
    expect(await network.narinfo(path)).toMatch(/^Sig: lab-ci-1:/m)
    expect(await network.on('ci', `nix-store --check-validity ${path} 2>&1 || true`)).toContain(
      'is not valid',
    )
    expect(await network.operatorHas(path)).toBe(false)
  })

  it('was fetched by the machine itself, which keeps the signature', async () => {
    const path = await running()
    const signed = await onWeb(`nix --extra-experimental-features nix-command path-info --sigs ${path}`)
    expect(signed).toMatch(/\slab-ci-1:\S+/)
    expect(await network.on('ci', 'cat /var/log/nginx/access.log')).toMatch(
      new RegExp(`^10\\.77\\.\\d+\\.\\d+ .*GET /static-cache/${network.hashOf(path)}\\.narinfo `, 'm'),
    )
  })
})

describe('a push', () => {
  it('reaches the machine by its timer, without an operator', async () => {
    const before = await running()
    await network.push({ greeting: 'Hello by the timer' })
    await network.evaluated('succeeded')
    const next = await onWeb('systemctl show -P NextElapseUSecRealtime hydra-ops-auto-update.timer')
    // The guest's clock is set past the timer's next hour and random delay, so that the test need not wait.
    await onWeb(`date --set="$(date --date='${next}' '+%F %H:59:00 %Z')"`)
    await network.until('web', `! [ "$(readlink -e ${debianProfile})" = ${before} ]`)
    await network.until('web', '! systemctl is-active --quiet hydra-ops-auto-update.service')
    // Later tests start the update by hand.
    await onWeb(
      `systemctl stop hydra-ops-auto-update.timer; date --utc --set=@${Math.ceil(Date.now() / 1000)}`,
    )
    expect(await onWeb('greet')).toBe('Hello by the timer')
    expect(await network.operatorHas(await running())).toBe(false)
    expect(await network.updated()).toMatchObject({ result: 'updated', path: await running() })
  })

  it('changes nothing while the gate is red, and says so in one sentence', async () => {
    const before = await running()
    await network.push({ greeting: 'Hello too early', broken: true })
    const { evaluation, gate } = await network.evaluated('a dependency failed')
    const flags = ['deploy', '-d', 'lab', '--include', 'web', '--from-hydra']
    const passed = await network.host.run(flags)
    expect(passed.code, passed.stderr).toBe(0)
    expect(passed.stderr).toContain(
      `a newer evaluation is passed over: ${network.url}/eval/${evaluation}: build ${gate}: a dependency failed`,
    )
    const refused = await network.host.run([...flags, '--eval', String(evaluation)])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain(
      `error: Hydra at ${network.url}: the gate is not green: build ${gate} of 'release': a dependency failed\n`,
    )
    await onWeb('systemctl start hydra-ops-auto-update')
    expect(await onWeb('journalctl -u hydra-ops-auto-update -o cat --no-pager')).toContain(
      `passed over: evaluation ${evaluation}: build ${gate}: a dependency failed`,
    )
    expect(await network.updated()).toMatchObject({ result: 'up-to-date' })
    expect([await running(), await onWeb('greet')]).toEqual([before, 'Hello by the timer'])
  })

  it('changes nothing if a path is not signed, for the operator and for the timer', async () => {
    const before = await running()
    await network.push({ greeting: 'Hello from a stranger' })
    const { evaluation } = await network.evaluated('succeeded')
    const path = await network.resultOf('web', evaluation)
    await network.on('ci', `sed -i '/^Sig:/d' /var/lib/hydra/cache/${network.hashOf(path)}.narinfo`)
    const refused = await network.host.run(['deploy', '-d', 'lab', '--include', 'web', '--from-hydra'])
    expect(refused.code).not.toBe(0)
    expect(`${refused.stdout}${refused.stderr}`).toContain(
      `machine 'web' cannot fetch ${path} (the path is not signed by a trusted key)`,
    )
    await onWeb('systemctl start hydra-ops-auto-update || true')
    expect(await network.updated()).toMatchObject({
      result: 'failed',
      message: `cannot fetch ${path}: it is not signed by a trusted key`,
    })
    expect([await running(), await onWeb('greet')]).toEqual([before, 'Hello by the timer'])
  })
})

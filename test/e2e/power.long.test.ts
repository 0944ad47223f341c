import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DeployedGuest, deployedGuest, until } from './deployed-guest.js'
import type { Ended } from './operator.js'

let box: DeployedGuest
beforeAll(async () => {
  box = await deployedGuest()
})
afterAll(() => box?.dispose())

function everything({ stdout, stderr }: Ended): string {
  return `${stdout}\n${stderr}`
}

/** Verifies store paths with Nix: exit code 0 and no output mean that every byte is right. */
async function verify(paths: string): Promise<{ code: number | null; stderr: string }> {
  const { code, stderr } = await box.guest.ssh(['sh', '-c', `${paths} | xargs nix-store --verify-path`])
  return { code, stderr }
}

const wholeClosure = 'nix-store -qR /nix/var/nix/profiles/hydra-ops'
const sound = { code: 0, stderr: '' }

/**
 * Writes a network that needs a tool and a ballast. The tool is copied first. The ballast's copy takes so long that the
 * power cut interrupts this copy.
 */
function want(tool: string): void {
  box.want({
    conf: tool,
    more: `deployment.packages = [ (tool "${tool}") ];
    deployment.files."/etc/needs".source = "\${ballast (tool "${tool}")}/needs";
    deployment.keys.token.text = "planted-token";
    deployment.units."box.service".text = ''
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=\${tool "${tool}"}/bin/${tool}
    '';`,
  })
}

async function untilBallastArrives(tool: string): Promise<void> {
  await until(box.guest, `[ -e /nix/store/*-ballast-${tool} ]`)
}

async function worksWith(tool: string): Promise<void> {
  expect(await verify(wholeClosure)).toEqual(sound)
  const seen = await box.guest.sh(`cat /etc/box.conf /run/keys/token; echo
systemctl is-active box.service; ${tool}`)
  expect(seen).toBe(`${tool}\nplanted-token\nactive\nhello`)
}

describe('a guest that loses power', () => {
  it('has no valid path that was not written during the copy, and gets it again', async () => {
    want('one')
    const { ended } = box.begin()
    await untilBallastArrives('one')
    await box.guest.powerCut()
    const cut = await ended
    expect(cut.code, everything(cut)).toBe(3)
    expect(everything(cut)).toContain('failed at copy')

    await box.guest.boot()
    const store = await box.guest.ssh(['nix-store', '--verify', '--check-contents'])
    expect(store.code, store.stderr).toBe(0)
    const again = await box.deploy()
    expect(again.code, everything(again)).toBe(0)
    await worksWith('one')
  })

  it('is mended after a copy without sync and with hydra-ops killed', async () => {
    // Nix uses the last setting, and this setting comes after hydra-ops's include.
    await box.guest.sh(`echo 'sync-before-registering = false' >> /etc/nix/nix.conf; sync`)
    want('two')
    const { ended, kill } = box.begin()
    await untilBallastArrives('two')
    const tool = await box.guest.sh('echo /nix/store/????????????????????????????????-two')
    kill()
    await box.guest.powerCut()
    expect((await ended).code).not.toBe(0)

    await box.guest.boot()
    // The test needs this fault: Nix considers a broken path valid.
    expect(await verify(`nix-store --check-validity ${tool} && echo ${tool}`)).not.toEqual(sound)
    const again = await box.deploy()
    expect(again.code, everything(again)).toBe(0)
    await worksWith('two')
  })

  it('is reported by the deploy that saw it during the activation, and the next deploy finishes it', async () => {
    box.want({ conf: 'activated', more: 'deployment.activate = gated "power";' })
    const { ended } = box.begin()
    await until(box.guest, '[ -e /run/waits-power ]')
    await box.guest.powerCut()
    await box.guest.boot()
    const cut = await ended
    expect(cut.code, everything(cut)).toBe(3)
    expect(everything(cut)).toContain('the machine was restarted meanwhile')

    const again = await box.deploy()
    expect(again.code, everything(again)).toBe(0)
    expect(await verify(wholeClosure)).toEqual(sound)
    expect(await box.guest.sh('cat /etc/box.conf; wc -l < /var/lib/runs-power')).toBe('activated\n2')
  })
})

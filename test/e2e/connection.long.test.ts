import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DeployedGuest, deployedGuest, until } from './deployed-guest.js'
import type { Ended } from './operator.js'

let box: DeployedGuest
beforeAll(async () => {
  box = await deployedGuest()
  await box.guest.sh('echo the original > /etc/original; chmod 0640 /etc/original')
})
afterAll(() => box?.dispose())

function everything({ stdout, stderr }: Ended): string {
  return `${stdout}\n${stderr}`
}

async function ends(ended: Promise<Ended>, code: number): Promise<string> {
  const how = await ended
  expect(how.code, everything(how)).toBe(code)
  return everything(how)
}

/** A script that ends every session except its own. */
const dropOthers = `for pid in $(pgrep -f '^sshd: root@'); do
  if [ "$pid" != "$PPID" ]; then kill -9 "$pid"; fi
done`

const printer = `deployment.units."printer.service".text = ''
  [Service]
  Type=oneshot
  ExecStart=/bin/sh -c 'echo out of paper; exit 7'
'';`

const activationUnits = "systemctl list-units --all --no-legend --plain 'hydra-ops-2*.service'"

describe('an activation', () => {
  it('goes on when ssh is dropped, and the deploy connects again and sees its end', async () => {
    box.want({ conf: 'dropped', more: 'deployment.activate = gated "dropped";' })
    const { ended } = box.begin()
    await until(box.guest, '[ -e /run/waits-dropped ]')
    await box.guest.sh(`${dropOthers}\ntouch /run/go-dropped`)
    expect(await ends(ended, 0)).toContain('the connection is lost, but the activation continues')
    expect(await box.guest.sh('cat /etc/box.conf; wc -l < /var/lib/runs-dropped')).toBe('dropped\n1')
  })

  it('goes on when hydra-ops is killed; the next deploy follows it to its end and does not repeat it', async () => {
    box.want({ conf: 'followed', more: 'deployment.activate = gated "followed";' })
    const first = box.begin()
    await until(box.guest, '[ -e /run/waits-followed ]')
    first.kill()
    await first.ended
    const second = box.begin()
    await second.says('an earlier run left activation')
    await box.guest.sh('touch /run/go-followed')
    await ends(second.ended, 0)
    expect(await box.guest.sh('cat /etc/box.conf; wc -l < /var/lib/runs-followed')).toBe('followed\n1')
    expect(await box.guest.sh(activationUnits)).toBe('')
  })

  it('goes on when hydra-ops is killed and systemd re-executed; the next deploy finds its failure', async () => {
    box.want({ conf: 'failed', more: `deployment.activate = gated "failed";\n${printer}` })
    const first = box.begin()
    await until(box.guest, '[ -e /run/waits-failed ]')
    first.kill()
    await first.ended
    await box.guest.sh('systemctl daemon-reexec; touch /run/go-failed')
    await until(box.guest, `${activationUnits} | grep -q failed`)

    const found = await ends(box.deploy(), 3)
    expect(found).toContain('an earlier run left activation')
    expect(found).toContain('units failed: printer.service')
    expect(found).toContain('out of paper')
    expect(found).toContain('degraded at activate')
  })

  it('is reported correctly across a re-execution of systemd while it is watched', async () => {
    box.want({ conf: 'watched', more: `deployment.activate = gated "watched";\n${printer}` })
    const { ended } = box.begin()
    await until(box.guest, '[ -e /run/waits-watched ]')
    await box.guest.sh('systemctl daemon-reexec; touch /run/go-watched')
    expect(await ends(ended, 3)).toContain('out of paper')

    box.want({ conf: 'repaired' })
    await ends(box.deploy(), 0)
    expect(await box.guest.sh('cat /etc/box.conf; systemctl cat printer.service 2>&1 || true')).toMatch(
      /^repaired\nNo files found/,
    )
  })
})

describe('Ctrl-C', () => {
  it('ends the copy during the copy; nothing is locked, and the next deploy goes on', async () => {
    const more = `deployment.files."/etc/needs".source = "\${ballast (tool "interrupted")}/needs";`
    box.want({ conf: 'interrupted', more })
    const first = box.begin()
    await until(box.guest, '[ -e /nix/store/*-ballast-interrupted ]')
    first.interrupt()
    expect(await ends(first.ended, 130)).toContain('interrupted')
    await until(box.guest, '! pgrep -f "nix-store --(serve|import)"')
    await ends(box.deploy(), 0)
    expect(await box.guest.sh('cat /etc/box.conf; cut -d- -f2 /etc/needs')).toBe('interrupted\ninterrupted')
  })

  it('names the activation that goes on during an activation, and the next deploy follows it', async () => {
    box.want({ conf: 'alone', more: 'deployment.activate = gated "alone";' })
    const first = box.begin()
    await until(box.guest, '[ -e /run/waits-alone ]')
    first.interrupt()
    expect(await ends(first.ended, 130)).toMatch(/box \(hydra-ops-\S+\.service\)/)
    const second = box.begin()
    await second.says('an earlier run left activation')
    await box.guest.sh('touch /run/go-alone')
    await ends(second.ended, 0)
    expect(await box.guest.sh('cat /etc/box.conf; wc -l < /var/lib/runs-alone')).toBe('alone\n1')
  })
})

describe('plan and deploy --dry-run', () => {
  /** A command that lists every file with all its metadata, except logs and files of the running system. */
  const ofTheGuest = `find / -xdev \\( -path /var/log -o -path /tmp -o -path /var/tmp -o -path /var/lib/systemd \\) -prune -o -type f -printf '%p %s %m %U %T@ %C@\\n' | sort
readlink /nix/var/nix/profiles/hydra-ops*; { find /run/keys /run/systemd/system /etc/systemd/system -printf '%p %s %m %T@\\n' 2>/dev/null || true; } | sort; systemctl list-units --all --no-legend --plain 'hydra-ops-*'`
  /** A command that lists only files, because Nix changes the times of its folders whenever it opens its store. */
  const ofTheOperator = `find . \\( -path ./images -o -name network.nix \\) -prune -o -type f -printf '%p %s %m %T@ %C@\\n' | sort`

  it('write nothing, on either side', async () => {
    await ends(box.deploy(), 0)
    const more = `deployment.packages = [ (tool "dry") ]; deployment.keys.dry.text = "dry"; deployment.cacheKey.enable = true;`
    box.want({ conf: 'dry', more })
    const seen = async () => [
      await box.guest.sh(ofTheGuest),
      (await box.operator.program(['sh', '-c', ofTheOperator])).stdout,
    ]
    const before = await seen()
    expect(before[0]).toContain('/etc/box.conf ')
    expect(before[1]).toContain('/state.json ')
    expect(await ends(box.deploy('--dry-run'), 0)).toContain('/etc/box.conf')
    await box.operator.ok(['plan', '-d', 'box'])
    expect(await seen()).toEqual(before)
  })
})

describe('the deployed closure', () => {
  const full = `deployment.packages = [ (tool "kept") ];
    deployment.files."/etc/original".text = "ours\\n";
    deployment.files."/etc/box.d/deep/file".text = "ours\\n";
    deployment.keys.token.text = "planted-token";
    deployment.units."kept.service".text = ''
      [Service]
      ExecStart=/bin/sh -c '\${tool "kept"}/bin/kept; exec sleep infinity'
      [Install]
      WantedBy=multi-user.target
    '';`

  it('still exists after garbage is collected on both sides', async () => {
    box.want({ conf: 'full', more: full })
    await ends(box.deploy(), 0)
    await box.guest.sh(
      'nix-store --gc; systemctl restart kept.service; kept; systemctl is-active kept.service',
    )
    const env = { NIX_REMOTE: `${box.operator.state}/nix` }
    const here = await box.operator.program(['nix-store', '--gc'], { env })
    expect(here.code, here.stderr).toBe(0)
    const closure = await box.guest.sh('readlink -f /nix/var/nix/profiles/hydra-ops')
    const whole = `nix-store -qR ${closure} | xargs nix-store --verify-path`
    expect(await box.operator.program(['sh', '-c', whole], { env })).toMatchObject({ code: 0, stderr: '' })
    expect(await ends(box.deploy('--check'), 0)).toContain('Up-to-date')
  })

  it('goes when the expression drops it, and the former files come back', async () => {
    box.want({ conf: 'bare' })
    await ends(box.deploy(), 0)
    const left = await box.guest.sh(`stat -c '%a %n' /etc/original; cat /etc/original
systemctl is-active kept.service || true
ls -d /etc/box.d /run/keys/token /usr/local/bin/kept /etc/systemd/system/*kept* 2>/dev/null || true`)
    expect(left).toBe('640 /etc/original\nthe original\ninactive')
    await box.guest.sh('nix-env -p /nix/var/nix/profiles/hydra-ops --delete-generations old; nix-store --gc')
    expect(await box.guest.sh('ls -d /nix/store/*-kept 2>/dev/null || true')).toBe('')
  })
})

import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { lanCable } from '../fixtures/guest-qemu.js'
import type { Ended } from './operator.js'
import { type SshOperator, sshOperator } from './ssh-operator.js'

const password = 'open "sesame" $1'
const d = ['-d', 'box']

/** Returns a network with a file, a key, a package and a unit that names the package. */
function network({ conf, hostKey }: { conf: string; hostKey?: string }): string {
  return `let
  greet = derivation {
    name = "greet";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    PATH = "/bin:/usr/bin";
    args = [ "-c" "mkdir -p $out/bin; printf '#!/bin/sh\\\\necho hello\\\\n' > $out/bin/greet; chmod +x $out/bin/greet" ];
  };
in {
  box = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "box.example";
    ${hostKey === undefined ? '' : `deployment.targetHostKey = "${hostKey}";`}
    deployment.packages = [ greet ];
    deployment.files."/etc/box.conf".text = "${conf}\\n";
    deployment.keys.token.text = "planted-token";
    deployment.units."box.service".text = ''
      [Service]
      Type=oneshot
      RemainAfterExit=yes
      ExecStart=\${greet}/bin/greet
      [Install]
      WantedBy=multi-user.target
    '';
  };
}
`
}

const cable = lanCable()
let guest: Guest
let operator: SshOperator

beforeAll(async () => {
  guest = await startGuest({ name: 'box', lan: cable.ends[0] })
  await guest.addUser('noisy', 'nopasswd')
  await guest.addUser('asked', { password })
  await guest.sh(`sed -i '1i echo "printed by .bashrc"; echo "and this" >&2' /home/noisy/.bashrc
echo 'echo "printed by profile.d"' > /etc/profile.d/prints.sh
echo 'Defaults:asked timestamp_type=global' > /etc/sudoers.d/tickets`)
  await guest.snapshot('fresh')
})
afterAll(async () => {
  await guest?.dispose()
  cable.remove()
})

let isFresh = true
beforeEach(async () => {
  operator = sshOperator()
  if (!isFresh) await guest.revert('fresh')
  isFresh = false
})
afterEach(() => operator.dispose())

/** Returns the ssh configuration that leads to the guest as `box.example`. */
function aboutGuest(user: string): string {
  return `Host box.example
  HostName 127.0.0.1
  Port ${guest.port}
  User ${user}
  IdentityFile ${guest.identityFile}
`
}

function want(conf: string, hostKey = guest.hostKey): void {
  operator.write('network.nix', network({ conf, hostKey }))
}

async function begin(sshConfig: string): Promise<void> {
  operator.sshConfig(sshConfig)
  await operator.ok(['create', 'network.nix', ...d])
}

async function deployed(conf: string, on: Guest): Promise<void> {
  const seen = await on.sh(`cat /etc/box.conf /run/keys/token; echo
systemctl is-active box.service
greet
journalctl --quiet --output=cat -u box.service | grep hello
systemctl list-units --no-legend --plain 'hydra-ops-*' | grep -c -v key.service || true`)
  expect(seen).toBe(`${conf}\nplanted-token\nactive\nhello\nhello\n0`)
}

function everything({ stdout, stderr }: Ended): string {
  return `${stdout}\n${stderr}`
}

const info = () => operator.ok(['info', ...d, '--plain'])

describe.each([
  { user: 'root', copied: '(nix-copy-closure)' },
  { user: 'noisy', copied: '(streamed, because the login shell prints text)' },
])('a host with a known address, as $user', ({ user, copied }) => {
  it('is deployed, shown, logged in to, left alone and brought up to date', async () => {
    want('first')
    await begin(aboutGuest(user))
    const first = await operator.run(['deploy', ...d])
    expect(first.code, everything(first)).toBe(0)
    expect(everything(first)).toContain(copied)
    await deployed('first', guest)
    expect(await info()).toMatch(/box.*Up \/ Up-to-date.*ssh.*box\.example/)
    const whoami = await operator.ok(['ssh', ...d, 'box', '--', 'id', '-un'])
    expect(whoami.trim().split('\n').at(-1)).toBe(user)

    const again = await operator.run(['deploy', ...d])
    expect(again.code).toBe(0)
    expect(everything(again)).toContain('Up-to-date')

    want('second')
    expect(await info()).toMatch(/box.*Up \/ Outdated/)
    await operator.ok(['deploy', ...d])
    await deployed('second', guest)
  })
})

describe('a sudo password for a host', () => {
  beforeEach(async () => {
    want('first')
    await begin(aboutGuest('asked'))
  })

  it('is accepted once it is right; it is not kept, and never becomes input', async () => {
    const nobody = await operator.run(['deploy', ...d])
    expect(nobody.code).toBe(3)
    expect(nobody.stdout).toContain("sudo on machine 'box' needs a password, but hydra-ops has no terminal")

    const wrong = await operator.onTerminal(['deploy', ...d], [['sudo password', 'guessed\r']])
    expect(wrong.code, everything(wrong)).toBe(3)
    expect(wrong.stdout).toContain("sudo did not accept the password of user 'asked'")
    expect(await guest.sh('ls -A /etc/box.conf /nix/store /run/keys 2>/dev/null || true')).not.toContain(
      'box',
    )

    const right = await operator.onTerminal(['deploy', ...d], [['sudo password', `${password}\r`]])
    expect(right.code, everything(right)).toBe(0)
    expect(right.stdout).toContain('because sudo asks for a password')
    await deployed('first', guest)

    const kept = await operator.program(['grep', '-rlF', '-e', 'sesame', '-e', 'guessed', operator.state])
    expect(kept).toEqual({ code: 1, stdout: '', stderr: '' })
    expect(right.stdout).not.toContain('sesame')
    expect(await guest.sh('journalctl --quiet | grep -cF -e sesame -e guessed || true')).toBe('0')
  })

  it('is not requested while sudo remembers the last one', async () => {
    const remember = await guest.ssh(['sudo', '-S', '-v'], { user: 'asked', stdin: `${password}\n` })
    expect(remember.code, remember.stderr).toBe(0)
    const first = await operator.run(['deploy', ...d])
    expect(first.code, everything(first)).toBe(0)
    expect(everything(first)).toContain('(nix-copy-closure through sudo)')
    await deployed('first', guest)
  })
})

describe('the host key', () => {
  it('is confirmed once, pinned, and refused when it changes, with the way out', async () => {
    operator.write('network.nix', network({ conf: 'first' }))
    await begin(aboutGuest('root'))
    const deploy = (...flags: string[]) => operator.run(['deploy', ...d, '--create-only', ...flags])
    const fingerprint = (key: string) => keygen(['-l', '-f', '-'], key).split(' ')[1] ?? ''
    const before = fingerprint(guest.hostKey)

    const unknown = await deploy()
    expect(unknown.code).toBe(3)
    expect(unknown.stdout).toContain(before)
    expect(unknown.stdout).toContain('--accept-host-key')
    expect((await deploy('--accept-host-key')).code).toBe(0)
    expect((await deploy()).code).toBe(0)

    // Established connections, such as the test's own, keep the old key until the revert.
    const changed = await guest.sh(`cd /etc/ssh; rm ssh_host_ed25519_key*
ssh-keygen -q -t ed25519 -N '' -C '' -f ssh_host_ed25519_key
systemctl restart ssh; cat ssh_host_ed25519_key.pub`)
    const refused = await deploy()
    expect(refused.code).toBe(3)
    expect(everything(refused)).toContain(before)
    expect(everything(refused)).toContain(fingerprint(changed))
    expect((await deploy('--accept-host-key')).code).toBe(3)
    const [, wayOut = ''] = /deployment\.targetHostKey = "([^"]+)"/.exec(everything(refused)) ?? []
    want('first', wayOut)
    expect((await deploy()).code).toBe(0)
  })
})

describe('a host behind a jump host', () => {
  let inner: Guest
  beforeAll(async () => {
    // The previous test may have left another host key on the jump host of this test.
    await guest.revert('fresh')
    inner = await startGuest({ name: 'inner', lan: cable.ends[1], through: guest })
  })
  afterAll(() => inner?.dispose())

  it('is deployed through its jump host, whose key the user must know', async () => {
    want('first', inner.hostKey)
    await begin(`${aboutGuest('root').replace('box.example', 'gate')}
Host box.example
  HostName ${inner.host}
  User root
  IdentityFile ${inner.identityFile}
  ProxyJump gate
`)
    const stranger = await operator.run(['deploy', ...d])
    expect(stranger.code).toBe(3)
    expect(everything(stranger)).toMatch(/Host key verification failed/)
    expect(existsSync(join(operator.env.HOME ?? '', '.ssh', 'known_hosts'))).toBe(false)

    operator.knownHosts(`[127.0.0.1]:${guest.port} ${guest.hostKey}\n`)
    await operator.ok(['deploy', ...d])
    await deployed('first', inner)
    expect(await operator.ok(['ssh', ...d, 'box', '--', 'hostname'])).toBe('inner\n')
    expect(await guest.sh('ls /etc/box.conf 2>&1 || true')).toContain('No such file')
  })
})

function keygen(args: readonly string[], input: string): string {
  return execFileSync('ssh-keygen', args, { input: `${input}\n`, encoding: 'utf8' })
}

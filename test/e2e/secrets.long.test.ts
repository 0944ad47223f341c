import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { type SshOperator, sshOperator } from './ssh-operator.js'

/** Long and strange enough not to be met by chance. */
const secrets = {
  text: 'Kx7-secret-in-the-expression-Zq',
  file: 'Kx7-secret-in-a-file-Wv',
  command: 'Kx7-secret-from-a-command-Tn',
}
/** It is typed, and reaches sudo on the machine. */
const sudoPassword = 'Kx7-password-of-sudo-Rb'
const everySecret = [...Object.values(secrets), sudoPassword]
const planted = 'Kx7-planted-where-it-may-be-found-Pm'

let guest: Guest
let operator: SshOperator

/** Every way in which a text may stand in what was recorded: as it is, in hex, in base64 at each of three offsets. */
function forms(text: string): string[] {
  const base64 = [0, 1, 2].map((offset) => {
    const encoded = Buffer.from(' '.repeat(offset) + text).toString('base64')
    // The ends depend on what stands beside it.
    return encoded.slice(offset === 0 ? 0 : 4, -4)
  })
  return [text, Buffer.from(text).toString('hex'), ...base64]
}

function findIn(text: string, secret: string): boolean {
  return forms(secret).some((form) => text.includes(form))
}

/** Every file below a folder, links not followed. */
function filesBelow(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name)
    const seen = lstatSync(path)
    if (seen.isDirectory()) return filesBelow(path)
    return seen.isFile() ? [path] : []
  })
}

function expression(check: string): string {
  return `{
  box = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "box.example";
    deployment.targetHostKey = "${guest.hostKey}";
    deployment.cacheKey.enable = true;
    deployment.keys.a.text = "${secrets.text}";
    deployment.keys.b.keyFile = ./secret-file;
    deployment.keys.c.keyCommand = [ "cat" "${join(operator.folder, 'command-output')}" ];
    # strace makes the guest slower still.
    deployment.preDeployChecks.cmd = [ { cmd = [ "true" "${check}" ]; timeout = 120; total = 300; } ];
  };
}
`
}

/** Deploys under strace; what every program that it started was given, and what it said. */
async function tracedDeploy(trace: string): Promise<{ execs: string; said: string }> {
  const file = join(operator.folder, trace)
  const strace = ['strace', '-f', '--seccomp-bpf', '-v', '-s', '65535', '-e', 'trace=execve', '-o', file]
  const answers = [['sudo password', `${sudoPassword}\r`]] as const
  const ended = await operator.onTerminal(['deploy', '-d', 'box', '--debug'], answers, { under: strace })
  expect(ended.code, ended.stdout + ended.stderr).toBe(0)
  return { execs: readFileSync(file, 'utf8'), said: ended.stdout + ended.stderr }
}

/** strace and what it needs beside the C library, carried into the guest, where apt reaches nothing. */
async function traceSshd(): Promise<void> {
  const libraries = execFileSync('ldd', ['/usr/bin/strace'], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => /=> (\S*(?:libunwind|liblzma)\S*)/.exec(line)?.[1] ?? [])
  const archive = execFileSync('tar', ['-chzf', '-', '-C', '/', '/usr/bin/strace', ...libraries], {
    encoding: 'base64',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const put = await guest.ssh(['sh', '-c', 'base64 -d | tar -xz -C /'], { stdin: archive })
  expect(put.code).toBe(0)
  await guest.sh(`systemd-run --quiet --unit=trace-sshd strace -f -v -s 65535 -e trace=execve -o /var/lib/execs -p "$(systemctl show -p MainPID --value ssh)"
for i in $(seq 300); do grep -q '^TracerPid:.*[1-9]' "/proc/$(systemctl show -p MainPID --value ssh)/status" && exit 0; sleep 0.1; done; exit 1`)
}

describe('secrets of a deployment', () => {
  let operatorExecs = ''
  let said = ''
  let guestExecs = ''

  beforeAll(async () => {
    guest = await startGuest({ name: 'box' })
    await guest.addUser('asked', { password: sudoPassword })
    operator = sshOperator()
    operator.sshConfig(`Host box.example
  HostName 127.0.0.1
  Port ${guest.port}
  User asked
  IdentityFile ${guest.identityFile}
`)
    operator.write('secret-file', secrets.file)
    operator.write('command-output', secrets.command)
    operator.write('network.nix', expression(planted))
    await operator.ok(['create', 'network.nix', '-d', 'box'])
    await traceSshd()
    const deploy = await tracedDeploy('execs')
    operatorExecs = deploy.execs
    said = deploy.said
    guestExecs = await guest.sh('cat /var/lib/execs')
  })
  afterAll(async () => {
    await guest?.dispose()
    operator?.dispose()
  })

  it('arrive on the machine, byte for byte', async () => {
    expect(await guest.sh('cat /run/keys/a /run/keys/b /run/keys/c')).toBe(Object.values(secrets).join(''))
  })

  it('would be found: a text that was planted in a command is', () => {
    expect(findIn(guestExecs, planted)).toBe(true)
    expect(operatorExecs).toContain('nix-instantiate')
    expect(guestExecs).toContain('sha256sum')
  })

  it('were in no argument and no environment of any program, here or there', async () => {
    const signingKey = (await guest.sh('cat /etc/hydra-ops/cache-key/cache.sec')).trim()
    const identity = readFileSync(guest.identityFile, 'utf8').split('\n')[2] ?? ''
    expect(identity).not.toBe('')
    expect(signingKey).toContain(':')
    for (const secret of [...everySecret, identity, signingKey]) {
      expect(findIn(operatorExecs, secret)).toBe(false)
      expect(findIn(guestExecs, secret)).toBe(false)
    }
  })

  it('are in nothing that was said, nor in the state, the journal, the logs or the Nix store', () => {
    const files = filesBelow(operator.state).filter(
      (path) => !path.startsWith(join(operator.state, 'images')),
    )
    expect(files.some((path) => path.endsWith('journal.ndjson'))).toBe(true)
    const texts = [said, ...files.map((path) => readFileSync(path, 'latin1'))]
    for (const secret of everySecret) {
      expect(texts.filter((text) => findIn(text, secret))).toEqual([])
    }
  })

  it('are in no store path and no world-readable file of the machine', async () => {
    for (const secret of everySecret) {
      expect(
        await guest.sh(
          `grep -rlF '${secret}' /nix/store /etc /var/log /var/lib/hydra-ops 2>/dev/null || true`,
        ),
      ).toBe('')
      expect(
        await guest.sh(
          `find / -xdev -type f -perm -o+r -newer /etc/hostname -not -path '/proc/*' -exec grep -lF '${secret}' {} + 2>/dev/null || true`,
        ),
      ).toBe('')
    }
  })
})

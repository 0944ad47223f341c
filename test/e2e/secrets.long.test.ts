import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { holds, recordExecs, recordedOnGuest, recordSsh, textsOfState } from './audit.js'
import { type SshOperator, sshOperator } from './ssh-operator.js'

/** The secrets are long and random enough to rule out chance matches. */
const secrets = {
  text: 'Kx7-secret-in-the-expression-Zq',
  file: 'Kx7-secret-in-a-file-Wv',
  command: 'Kx7-secret-from-a-command-Tn',
}
/** The password is typed, and reaches sudo on the machine. */
const sudoPassword = 'Kx7-password-of-sudo-Rb'
const everySecret = [...Object.values(secrets), sudoPassword]
const planted = 'Kx7-planted-where-it-may-be-found-Pm'

/** The time for a deploy whose programs are all traced, on an emulated machine (15 minutes beside another guest). */
const tracedMs = 30 * 60_000

let guest: Guest
let operator: SshOperator

function expression(check: string): string {
  return `{
  box = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "box.example";
    deployment.targetHostKey = "${guest.hostKey}";
    deployment.cacheKey.enable = true;
    deployment.builder = { enable = true; for = "operator"; cache.enable = true; };
    deployment.keys.a.text = "${secrets.text}";
    deployment.keys.b.keyFile = ./secret-file;
    deployment.keys.c.keyCommand = [ "cat" "${join(operator.folder, 'command-output')}" ];
    # strace makes the guest even slower.
    deployment.preDeployChecks.cmd = [ { cmd = [ "true" "${check}" ]; timeout = 120; total = 300; } ];
  };
}
`
}

/** Deploys under strace; returns the arguments and environment of all started programs, and the output. */
async function tracedDeploy(trace: string): Promise<{ execs: string; said: string }> {
  const file = join(operator.folder, trace)
  const strace = ['strace', '--seccomp-bpf', ...recordExecs, file]
  const answers = [['sudo password', `${sudoPassword}\r`]] as const
  const ended = await operator.onTerminal(['deploy', '-d', 'box', '--debug'], answers, {
    under: strace,
    timeoutMs: tracedMs,
  })
  expect(ended.code, ended.stdout + ended.stderr).toBe(0)
  return { execs: readFileSync(file, 'utf8'), said: ended.stdout + ended.stderr }
}

/** Returns the path of the key with which the operator's Nix logs in to builders. */
function builderKeyFile(): string {
  const file = textsOfState(operator).find(({ path }) => path.endsWith('/keys/builders_ed25519'))?.path
  if (file === undefined) throw new Error('the operator has no key for builders')
  return file
}

/** Returns a line from the private part of the key for builders. */
function builderKeyLine(): string {
  const line = readFileSync(builderKeyFile(), 'utf8').split('\n')[4] ?? ''
  if (line.length < 20) throw new Error('the key for builders is too short for a test')
  return line
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
    await recordSsh(guest)
    const deploy = await tracedDeploy('execs')
    operatorExecs = deploy.execs
    said = deploy.said
    guestExecs = await recordedOnGuest(guest)
  })
  afterAll(async () => {
    await guest?.dispose()
    operator?.dispose()
  })

  it('arrive on the machine, byte for byte', async () => {
    expect(await guest.sh('cat /run/keys/a /run/keys/b /run/keys/c')).toBe(Object.values(secrets).join(''))
  })

  it('would be found: a text that was planted in a command is found', () => {
    expect(holds(guestExecs, planted)).toBe(true)
    expect(operatorExecs).toContain('nix-instantiate')
    expect(guestExecs).toContain('sha256sum')
  })

  it('were in no argument and no environment of any program, on either side', async () => {
    const signingKey = (await guest.sh('cat /etc/hydra-ops/cache-key/cache.sec')).trim()
    const builderSigningKey = (await guest.sh('cat /etc/nix/hydra-ops-cache-key/secret')).trim()
    const identity = readFileSync(guest.identityFile, 'utf8').split('\n')[2] ?? ''
    expect(identity).not.toBe('')
    expect(signingKey).toContain(':')
    expect(builderSigningKey).toContain(':')
    for (const secret of [...everySecret, identity, signingKey, builderSigningKey, builderKeyLine()]) {
      expect(holds(operatorExecs, secret)).toBe(false)
      expect(holds(guestExecs, secret)).toBe(false)
    }
  })

  it('are in no output, and not in the state, the journal, the logs or the Nix store', () => {
    const kept = textsOfState(operator)
    expect(kept.some(({ path }) => path.endsWith('journal.ndjson'))).toBe(true)
    const texts = [said, ...kept.map(({ text }) => text)]
    for (const secret of everySecret) {
      expect(texts.filter((text) => holds(text, secret))).toEqual([])
    }
    const withBuilderKey = kept.filter(({ text }) => holds(text, builderKeyLine())).map(({ path }) => path)
    expect(withBuilderKey).toEqual([builderKeyFile()])
    expect(holds(said, builderKeyLine())).toBe(false)
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

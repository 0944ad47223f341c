import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { holds, recordAll, recordExecs, recordedOnGuest, textsOfState } from './audit.js'
import { hydraOperator } from './hydra-operator.js'
import type { SshOperator } from './ssh-operator.js'

/** The passwords are long and random enough to rule out chance matches; strace prints their characters unchanged. */
const passwords = {
  file: 'Kx7-password-of-alice-in-a-file-Wv',
  command: 'Kx7-password-of-bob-from-a-command-Tn',
  stdin: 'Kx7-password-of-carol-on-stdin-Rb',
}
const planted = 'Kx7-planted-where-it-may-be-found-Pm'
const machine = `
    deployment.hydra.nginx.tls = "self-signed";
    deployment.hydra.users = {
      bob = { emailAddress = "bob@example.org"; password.command = [ "cat" (toString ./bob) ]; };
      dora = { emailAddress = "dora@example.org"; password.generate = true; };
    };
    deployment.preDeployChecks.cmd = [ { cmd = [ "true" "${planted}" ]; timeout = 300; total = 600; } ];`
const tracedMs = 60 * 60_000

let guest: Guest
let operator: SshOperator
let execs = { operator: '', guest: '' }
let said = ''
let secrets: string[] = []

/** Runs hydra-ops under strace, and adds the arguments and environment of all its programs to `execs`. */
async function traced(args: readonly string[], stdin = ''): Promise<string> {
  const file = join(operator.folder, 'execs')
  const cli = [process.execPath, join(packageRoot(), 'dist', 'src', 'cli.js')]
  const argv = ['strace', '--seccomp-bpf', ...recordExecs, file, ...cli, ...args]
  const ended = await operator.program(argv, { stdin, timeoutMs: tracedMs })
  expect(ended.code, ended.stdout + ended.stderr).toBe(0)
  execs = { ...execs, operator: execs.operator + readFileSync(file, 'utf8') }
  said += ended.stderr
  return ended.stdout
}

/** Returns the lines of a private key that no other key has. */
function keyLines(text: string): string[] {
  const common = /^(?:-----|b3BlbnNzaC1rZXkt)/
  return text.split('\n').filter((line) => line.length > 40 && !common.test(line))
}

beforeAll(async () => {
  guest = await startGuest({ name: 'ci' })
  operator = await hydraOperator(guest, passwords.file, { machine })
  operator.write('bob', `${passwords.command}\n`)
  await recordAll(guest)
  const told = [await traced(['deploy', '-d', 'ci', '--debug'])]
  const carol = ['hydra', 'user', 'add', 'carol', '--password-stdin', '--debug', '-d', 'ci']
  told.push(await traced(carol, `${passwords.stdin}\n`))
  told.push(await traced(['setup', 'verify', '-d', 'ci', '--debug']))
  said += told.join('')
  // This command prints the password on purpose, so its output is not checked.
  const generated = (await traced(['hydra', 'password', 'dora', '-d', 'ci'])).trim()
  execs = { ...execs, guest: await recordedOnGuest(guest) }
  secrets = [
    ...Object.values(passwords),
    generated,
    (await guest.sh('cat /etc/nix/ci/secret')).trim().split(':')[1] ?? '',
    ...keyLines(await guest.sh('cat /etc/ssl/hydra-ops/*.key')),
    ...keyLines(readFileSync(guest.identityFile, 'utf8')),
  ]
}, tracedMs)
afterAll(async () => {
  await guest?.dispose()
  operator?.dispose()
})

describe('the secrets of a Hydra', () => {
  it('are all known to this test', () => {
    expect(secrets.length).toBeGreaterThanOrEqual(7)
    for (const secret of secrets) expect(secret.length).toBeGreaterThan(15)
  })

  it('would be found: a planted text in a command is found, and so are the programs of both sides', () => {
    expect(holds(execs.guest, planted)).toBe(true)
    expect(execs.operator).toContain('nix-instantiate')
    // hydra-ops's own commands and systemd start these programs.
    expect(execs.guest).toMatch(/execve\("\S*hydra-create-user"/)
    expect(execs.guest).toMatch(/argc=.* a\d="\S*hydra-queue-runner"/)
  })

  it('were in no argument and no environment of any program, on either side', () => {
    for (const secret of secrets) {
      expect(holds(execs.operator, secret)).toBe(false)
      expect(holds(execs.guest, secret)).toBe(false)
    }
  })

  it('are in no output and not in the state, except for the generated secret', () => {
    const kept = textsOfState(operator)
    expect(kept.some(({ path }) => path.endsWith('journal.ndjson'))).toBe(true)
    for (const secret of secrets) {
      expect(holds(said, secret)).toBe(false)
      const found = kept.filter(({ text }) => holds(text, secret)).map(({ path }) => path)
      expect(found.filter((path) => !path.endsWith('/ci.hydra-user-dora.generated'))).toEqual([])
    }
  })

  it('are on the machine only in their own places', async () => {
    const found = await guest.sh(`patterns=$(mktemp -p /run)
cat > "$patterns" <<'END'
${secrets.join('\n')}
END
find / -xdev -type f -not -path '/var/lib/execs*' -exec grep -laFf "$patterns" {} + 2> /dev/null || true
{ journalctl --no-pager --output=export; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2> /dev/null || true; } |
  grep -acFf "$patterns" || true`)
    const [count, ...paths] = found.split('\n').reverse()
    expect(count).toBe('0')
    expect(paths.sort()).toEqual(['/etc/nix/ci/secret', '/etc/ssl/hydra-ops/hydra.example.org.key'])
  })
})

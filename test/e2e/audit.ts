import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Guest } from '../fixtures/guest.js'
import type { SshOperator } from './ssh-operator.js'

/** Does a text hold a secret: as it is, in hex, or in base64 at any of three offsets? */
export function holds(text: string, secret: string): boolean {
  return forms(secret).some((form) => text.includes(form))
}

function forms(secret: string): string[] {
  const base64 = [0, 1, 2].map((offset) => {
    const encoded = Buffer.from(' '.repeat(offset) + secret).toString('base64')
    // The ends depend on what stands beside it.
    return encoded.slice(offset === 0 ? 0 : 4, -4)
  })
  return [secret, Buffer.from(secret).toString('hex'), ...base64]
}

/** The text of every file that an operator's state has, but the images. */
export function textsOfState(operator: SshOperator): { readonly path: string; readonly text: string }[] {
  const images = join(operator.state, 'images')
  return filesBelow(operator.state)
    .filter((path) => !path.startsWith(images))
    .map((path) => ({ path, text: readFileSync(path, 'latin1') }))
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

/** strace's options that write down every program with all its arguments and its environment. */
export const recordExecs = ['-f', '-v', '-s', '65535', '-e', 'trace=execve', '-o']

/** strace and what it needs beside the C library, carried into the guest, where apt reaches nothing. */
async function carryStrace(guest: Guest): Promise<void> {
  const libraries = execFileSync('ldd', ['/usr/bin/strace'], { encoding: 'utf8' })
    .split('\n')
    .flatMap((line) => /=> (\S*(?:libunwind|liblzma)\S*)/.exec(line)?.[1] ?? [])
  const archive = execFileSync('tar', ['-chzf', '-', '-C', '/', '/usr/bin/strace', ...libraries], {
    encoding: 'base64',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const put = await guest.ssh(['sh', '-c', 'base64 -d | tar -xz -C /'], { stdin: archive })
  if (put.code !== 0) throw new Error(`strace did not get into the guest\n${put.stderr}`)
}

/** Of what is started on a guest from now on, by sshd or also by systemd: every program. */
export async function recordGuest(guest: Guest, whom: 'sshd' | 'sshd and systemd'): Promise<void> {
  await carryStrace(guest)
  await guest.sh(`sshd=$(systemctl show -p MainPID --value ssh)
systemd-run --quiet --unit=recorder strace ${recordExecs.join(' ')} /var/lib/execs -p "$sshd" ${whom === 'sshd' ? '' : '-p 1'}
for i in $(seq 300); do grep -q '^TracerPid:.*[1-9]' "/proc/$sshd/status" && exit 0; sleep 0.1; done; exit 1`)
}

export function recordedOnGuest(guest: Guest): Promise<string> {
  return guest.sh('cat /var/lib/execs')
}

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { OperatorHost } from '../e2e/operator.js'
import { type ShellSession, shellSession } from './shell-session.js'

/** Starts a reader's shell in a folder, with `hydra-ops` on the PATH and an identity for git. */
export function readerShell(
  host: Pick<OperatorHost, 'command' | 'env' | 'folder'>,
  cwd: string,
  env: Readonly<Record<string, string>> = {},
): ShellSession {
  const bin = join(host.folder, 'bin')
  mkdirSync(bin)
  const command = host.command.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  writeFileSync(join(bin, 'hydra-ops'), `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 })
  const person = { NAME: 'Alice', EMAIL: 'alice@example.org' }
  const names = Object.entries(person).flatMap(([what, value]) =>
    ['AUTHOR', 'COMMITTER'].map((who) => [`GIT_${who}_${what}`, value]),
  )
  return shellSession({
    cwd,
    env: { ...host.env, PATH: `${bin}:${host.env.PATH}`, ...Object.fromEntries(names), ...env },
  })
}

/** Replaces the only occurrence of a text. */
export function replaced(text: string, before: string, after: string): string {
  const parts = text.split(before)
  if (parts.length !== 2) throw new Error(`the network has '${before}' ${parts.length - 1} times`)
  return parts.join(after)
}

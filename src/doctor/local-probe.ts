import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { dirname, join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { throwIfAborted } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { HostProbe } from './host-probe.js'

/** Folders of administrators' programs, which an ordinary user's PATH lacks. */
const adminFolders = ['/usr/sbin', '/sbin']

/** The deadline for a program of a check; such a program answers quickly or hangs. */
const programDeadlineMs = 20_000

/** Creates a probe of the host on which this process runs. */
export function createLocalProbe(
  local: Pick<LocalCommands, 'run'>,
  env: Readonly<Record<string, string | undefined>>,
  run: Run,
): HostProbe {
  const folders = [...(env.PATH ?? '').split(':').filter((folder) => folder !== ''), ...adminFolders]
  return {
    user: { name: attempt(() => userInfo().username) ?? '?', uid: process.getuid?.() ?? -1 },
    groups: currentGroups(),
    nodeVersion: process.versions.node,
    env,
    program: (name) =>
      folders.map((folder) => join(folder, name)).find((path) => allowed(path, constants.X_OK)),
    readFile: (path) => attempt(() => readFileSync(path, 'utf8')),
    exists: existsSync,
    usable: (path) => allowed(path, constants.R_OK | constants.W_OK),
    freeBytes: (path) =>
      attempt(() => {
        const { bavail, bsize } = statfsSync(nearestExisting(path))
        return bavail * bsize
      }),
    owner: (path) =>
      attempt(() => {
        const { uid, mode } = statSync(path)
        return { uid, mode: mode & 0o7777 }
      }),
    run: async (argv, stdin) => {
      try {
        return await local.run(argv, {
          signal: run.signal,
          timeoutMs: programDeadlineMs,
          what: 'examine this host',
          ...(stdin === undefined ? {} : { stdin }),
        })
      } catch {
        throwIfAborted(run.signal)
        return undefined
      }
    },
  }
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}

function allowed(path: string, mode: number): boolean {
  return attempt(() => accessSync(path, mode) ?? true) === true
}

function nearestExisting(path: string): string {
  return existsSync(path) || path === dirname(path) ? path : nearestExisting(dirname(path))
}

function currentGroups(): Set<string> {
  const ids = new Set([...(process.getgroups?.() ?? []), process.getegid?.() ?? -1].map(String))
  const lines = (attempt(() => readFileSync('/etc/group', 'utf8')) ?? '').split('\n')
  const named = lines.map((line) => line.split(':')).filter(([, , id]) => id !== undefined && ids.has(id))
  return new Set(named.flatMap(([name]) => (name === undefined ? [] : [name])))
}

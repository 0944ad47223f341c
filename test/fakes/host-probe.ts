import { knownPrograms } from '../../src/core/programs.js'
import type { CommandResult } from '../../src/core/ssh.js'
import type { HostProbe } from '../../src/doctor/host-probe.js'

export interface FakeHost {
  readonly user?: HostProbe['user']
  readonly groups?: readonly string[]
  readonly nodeVersion?: string
  readonly env?: HostProbe['env']
  /** The programs that the host lacks. */
  readonly without?: readonly string[]
  /** The texts of files; a listed path exists. */
  readonly files?: Readonly<Record<string, string>>
  /** The paths that exist but are closed to this process. */
  readonly forbidden?: readonly string[]
  readonly freeBytes?: number | undefined
  readonly owners?: Readonly<Record<string, { uid: number; mode: number }>>
  /**
   * The results of programs by name; other programs succeed silently, and `undefined` means a program that cannot run.
   */
  readonly ends?: Readonly<Record<string, CommandResult | undefined>>
}

export const ended = (code: number, stderr = ''): CommandResult => ({
  kind: 'exited',
  code,
  stdout: '',
  stderr,
})

/** Creates a Debian host of an ordinary user, which is healthy except for the given faults. */
export function fakeHost(broken: FakeHost = {}): HostProbe {
  const files: Record<string, string> = {
    '/etc/subuid': 'ada:100000:65536\n',
    '/etc/subgid': 'ada:100000:65536\n',
    '/etc/group': 'root:x:0:\nada:x:1000:\n',
    ...broken.files,
  }
  const without = new Set(broken.without ?? [])
  const programs = new Set([...knownPrograms.map((known) => known.program), 'ssh-add', 'unshare'])
  const exists = (path: string) => path in files || (broken.forbidden ?? []).includes(path)
  return {
    user: broken.user ?? { name: 'ada', uid: 1000 },
    groups: new Set(broken.groups ?? ['ada']),
    nodeVersion: broken.nodeVersion ?? '20.11.0',
    env: broken.env ?? {},
    program: (name) => (programs.has(name) && !without.has(name) ? `/usr/bin/${name}` : undefined),
    readFile: (path) => files[path],
    exists,
    usable: (path) => exists(path) && !(broken.forbidden ?? []).includes(path),
    freeBytes: () => ('freeBytes' in broken ? broken.freeBytes : 100 * 1024 ** 3),
    owner: (path) => broken.owners?.[path],
    run: async (argv) => {
      const name = argv[0]?.split('/').at(-1) ?? ''
      return broken.ends !== undefined && name in broken.ends ? broken.ends[name] : ended(0)
    },
  }
}

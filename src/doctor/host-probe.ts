import type { CommandResult } from '../core/ssh.js'

/**
 * Queries about the operator host, for the checks. No query throws: an unknown answer is `undefined`. Tests replace one
 * answer and check the finding.
 */
export interface HostProbe {
  readonly user: { readonly name: string; readonly uid: number }
  /** The names of this process's groups. */
  readonly groups: ReadonlySet<string>
  /** The value of `process.versions.node`. */
  readonly nodeVersion: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Returns the absolute path of a program on PATH, in /usr/sbin or in /sbin. */
  program(name: string): string | undefined
  readFile(path: string): string | undefined
  exists(path: string): boolean
  /** Tells whether this process may read and write a path. */
  usable(path: string): boolean
  /** Returns the free bytes for this user on the file system of a path or its nearest existing ancestor. */
  freeBytes(path: string): number | undefined
  /** Returns owner, group and mode, as `ls` shows them: `root root 0600`. */
  owner(path: string): { readonly uid: number; readonly mode: number } | undefined
  /** Runs a program with a short deadline; returns undefined if the program cannot run or does not end in time. */
  run(argv: readonly string[], stdin?: string): Promise<CommandResult | undefined>
}

import type { CommandResult } from '../core/ssh.js'

/**
 * What the checks may ask of the operator host. Every question is answered, none throws: what cannot be known is
 * `undefined`. Tests break one answer and look at the finding.
 */
export interface HostProbe {
  readonly user: { readonly name: string; readonly uid: number }
  /** Names of the groups this process is in. */
  readonly groups: ReadonlySet<string>
  /** `process.versions.node`. */
  readonly nodeVersion: string
  readonly env: Readonly<Record<string, string | undefined>>
  /** Absolute path of a program on PATH or in /usr/sbin, /sbin. */
  program(name: string): string | undefined
  readFile(path: string): string | undefined
  exists(path: string): boolean
  /** May this process read and write it? */
  usable(path: string): boolean
  /** Bytes free for this user on the file system of the path, or of its nearest ancestor that exists. */
  freeBytes(path: string): number | undefined
  /** Owner, group and mode, as `ls` shows them: `root root 0600`. */
  owner(path: string): { readonly uid: number; readonly mode: number } | undefined
  /** Runs a program with a short deadline; undefined when it cannot be run or does not end. */
  run(argv: readonly string[], stdin?: string): Promise<CommandResult | undefined>
}

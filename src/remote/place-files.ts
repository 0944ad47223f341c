import { createHash } from 'node:crypto'
import { posix } from 'node:path'
import { commandFailure } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'

/** A file to be put on a machine. */
export interface PlacedFile {
  /** Absolute. */
  readonly path: string
  readonly content: string | Uint8Array
  readonly mode: number
  readonly user: string
  readonly group: string
  /** As root with mode 0600 while its user or group does not exist, instead of a failure. */
  readonly ownerMayBeMissing?: boolean
  /** How its directory is made when it is missing; the group too, when there is none. Default: 0755 root. */
  readonly directory?: { readonly mode: number; readonly group: string }
}

/**
 * Puts files on a machine, all of them or none: each is written beside its destination, with its owner and
 * mode set before any content, and only when all are complete they are renamed into place. So a reader never
 * finds a file missing, half written or readable by others, and a lost connection changes nothing.
 * Content travels on stdin only. Returns the paths whose owner does not exist (see `ownerMayBeMissing`).
 */
export async function placeFiles(
  host: Host,
  files: readonly PlacedFile[],
  options: { readonly run: Run; readonly what: string; readonly timeoutMs?: number },
): Promise<string[]> {
  if (files.length === 0) return []
  const { run, what } = options
  const result = await host.script(placeScript, files.flatMap(argumentsOf), {
    signal: run.signal,
    timeoutMs: options.timeoutMs ?? 120_000,
    what,
    stdin: frame(files),
  })
  const answers = result.stdout.split('\n').filter((line) => line !== '')
  if (result.kind !== 'exited' || result.code !== 0) throw placingFailed(host, what, files, result, answers)
  return answers.flatMap((line) =>
    line.startsWith('ownerless ') ? (pathAt(files, line.slice(10)) ?? []) : [],
  )
}

function placingFailed(
  host: Host,
  what: string,
  files: readonly PlacedFile[],
  result: Parameters<typeof commandFailure>[0],
  answers: readonly string[],
): Error {
  const [, index, why] = /^failed (\d+) (.*)$/.exec(answers.at(-1) ?? '') ?? []
  const path = index === undefined ? undefined : pathAt(files, index)
  if (path === undefined) return commandFailure(result, { machine: host.machine, what })
  return failure('PLACE_FILE', `machine '${host.machine}': ${what}: ${JSON.stringify(path)}: ${why}`, {
    machine: host.machine,
    detail: result.stderr.trim(),
  })
}

function pathAt(files: readonly PlacedFile[], index: string): string | undefined {
  return files[Number(index)]?.path
}

/** Number of what `argumentsOf` gives. */
const argumentsPerFile = 9

/** Lists the destinations of a script that `placeFiles` runs, from its arguments; of any other script none. */
export function placedPaths(script: string, args: readonly string[]): string[] {
  return script === placeScript ? args.filter((_, index) => index % argumentsPerFile === 1) : []
}

function argumentsOf(file: PlacedFile): string[] {
  const directory = posix.dirname(file.path)
  return [
    directory,
    file.path,
    stagedPath(file.path),
    file.user,
    file.group,
    octal(file.mode),
    file.ownerMayBeMissing === true ? 'yes' : 'no',
    octal(file.directory?.mode ?? 0o755),
    file.directory?.group ?? 'root',
  ]
}

/** Always the same for one destination, so that what a crash left behind is overwritten by the next attempt. */
export function stagedPath(path: string): string {
  const id = createHash('sha256').update(posix.basename(path)).digest('hex').slice(0, 16)
  return posix.join(posix.dirname(path), `.hydra-ops-${id}.new`)
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, '0')
}

/** Per file its size on a line, then its bytes. */
function frame(files: readonly PlacedFile[]): Uint8Array {
  return Buffer.concat(
    files.flatMap((file) => {
      const content = Buffer.from(file.content)
      return [Buffer.from(`${content.length}\n`), content]
    }),
  )
}

/** sh functions: the number of a user or group, given its name or number; nothing when there is none. */
export const ownerFunctions = `
user_id() { case $1 in *[!0-9]*) id -u -- "$1" 2>/dev/null ;; *) printf %s "$1" ;; esac; }
group_id() { case $1 in *[!0-9]*) getent group -- "$1" | cut -d: -f3 ;; *) printf %s "$1" ;; esac; }
`

/**
 * Owner and mode are set through the descriptor, so that nobody who can write to the directory can swap the
 * file between two steps. `head -c` reads no byte more than it is told to, so the next size line is intact.
 */
const placeScript = `
umask 022
${ownerFunctions}
failed() { printf 'failed %s %s\\n' "$1" "$2"; return 1; }

make_directory() {
  [ -d "$1" ] && return 0
  getent group -- "$3" >/dev/null || groupadd --system -- "$3" || return 1
  mkdir -p -m "$2" -- "$1" || return 1
  [ "$(stat -c %G -- "$1")" = "$3" ] || chgrp -- "$3" "$1"
}

write_staged() (
  umask 077
  rm -f -- "$1" || exit 1
  set -C
  exec 3>"$1" || exit 1
  chown "$2" /proc/self/fd/3 && chmod "$3" /proc/self/fd/3 || exit 1
  head -c "$4" >&3 || exit 1
  [ "$(stat -L -c %s /proc/self/fd/3)" = "$4" ] || exit 1
  sync /proc/self/fd/3
)

stage() {
  index=0
  while [ $# -gt 0 ]; do
    IFS= read -r size || { failed $index 'its content did not arrive'; return 1; }
    if [ -d "$2" ] && [ ! -L "$2" ]; then failed $index 'a directory is in its place'; return 1; fi
    make_directory "$1" "$8" "$9" || { failed $index 'its directory could not be made'; return 1; }
    uid=$(user_id "$4") gid=$(group_id "$5") mode=$6
    if [ -z "$uid" ] || [ -z "$gid" ]; then
      if [ "$7" = no ]; then
        if [ -z "$uid" ]; then missing="user '$4'"; else missing="group '$5'"; fi
        failed $index "the machine has no $missing"
        return 1
      fi
      uid=0 gid=0 mode=0600
      printf 'ownerless %s\\n' $index
    fi
    write_staged "$3" "$uid:$gid" "$mode" "$size" || { failed $index 'it could not be written completely'; return 1; }
    shift 9
    index=$((index + 1))
  done
}

place() {
  index=0
  while [ $# -gt 0 ]; do
    mv -fT -- "$3" "$2" || { failed $index 'it could not be renamed into place'; return 1; }
    shift 9
    index=$((index + 1))
  done
}

each_directory() { while [ $# -gt 0 ]; do sync -- "$1"; shift 9; done; }
discard() { while [ $# -gt 0 ]; do rm -f -- "$3"; shift 9; done; }

stage "$@" && place "$@" || { discard "$@"; exit 1; }
each_directory "$@"
exit 0
`

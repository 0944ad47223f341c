import { lastLines } from '../core/command-result.js'
import type { LocalCommands } from '../core/context.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { CommandResult } from '../core/ssh.js'

/** Facts about an image build that its commands need. */
export interface ImageBuild {
  readonly local: Pick<LocalCommands, 'run'>
  /** The name of the image, for errors. */
  readonly name: string
  readonly folder: string
  /** Advice after a failure that is not a full disk. */
  readonly hint: string
  /** The free space that the build needs, for the hint about a full disk. */
  readonly space: string
}

export interface ImageCommandOptions {
  readonly timeoutMs: number
  readonly env?: Readonly<Record<string, string>>
  readonly stdin?: string
  /** A folder below the folder of the build. Default: the folder of the build. */
  readonly cwd?: string
}

/** Runs a command of an image build; throws an error if the command fails. */
export async function imageCommand(
  build: ImageBuild,
  argv: readonly string[],
  { timeoutMs, env, stdin, cwd = build.folder }: ImageCommandOptions,
  run: Run,
): Promise<void> {
  const result = await build.local.run(argv, {
    ...{ signal: run.signal, timeoutMs, what: `build image ${build.name}`, cwd },
    // mke2fs is in /sbin, which is not on every user's PATH.
    env: { PATH: `${process.env.PATH ?? ''}:/usr/sbin:/sbin`, DEBIAN_FRONTEND: 'noninteractive', ...env },
    onLine: (line) => {
      const progress = /^I: ((?:downloading|extracting|installing|creating) .+)$/.exec(line)?.[1]
      if (progress !== undefined) run.log(progress)
    },
    ...(stdin === undefined ? {} : { stdin }),
  })
  if (result.kind === 'exited' && result.code === 0) return
  throw buildFailure(build, argv, result)
}

function buildFailure(
  { name, hint, space }: ImageBuild,
  argv: readonly string[],
  result: CommandResult,
): Error {
  const end = result.kind === 'exited' ? `status ${result.code}` : 'a signal'
  const full = /No space left on device/.test(result.stderr)
  return failure(
    full ? 'DISK_FULL' : 'IMAGE_BUILD',
    `cannot build image ${name}: '${argv[0]}' ended with ${end}`,
    {
      detail: lastLines(result.stderr, 20),
      hint: full ? `make room in the state folder and in $TMPDIR (or /tmp); the build needs ${space}` : hint,
    },
  )
}

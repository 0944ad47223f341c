import { randomBytes } from 'node:crypto'
import { failure, OpsError } from '../core/errors.js'
import { shellQuote } from '../core/shell-quote.js'
import type { CommandResult, Host, RemoteOptions } from '../core/ssh.js'
import { targetScript } from './target-scripts.js'

/** A script among several that run as one command. */
export interface BatchedScript {
  /** Title for errors and progress: `look at Nix`. */
  readonly title: string
  readonly text: string
  readonly stdin: string | Uint8Array | undefined
}

interface Waiting extends BatchedScript {
  readonly options: RemoteOptions
  answer(result: CommandResult): void
  fail(error: unknown): void
}

/**
 * Wraps a host so that all scripts requested at the same moment run as one command on the machine. A look with a
 * dozen tasks then needs one round trip. Only scripts that depend on the first answers cause a second round trip. The
 * scripts run side by side, each in its own shell, and identical requests run once. The command gets the longest
 * deadline of its scripts. A script that reads a stream, or that runs as the login user, runs as a separate command.
 */
export function batchedHost(host: Host): Host {
  let waiting: Waiting[] = []
  const begin = () => {
    const batch = waiting
    waiting = []
    void runBatch(host, batch)
  }
  const script = (text: string, args: readonly string[], options: RemoteOptions): Promise<CommandResult> => {
    const { stdin, what: title } = options
    if (!canBeBatched(text, options) || isStream(stdin)) return host.script(text, args, options)
    return new Promise((answer, fail) => {
      // The batch collects all scripts that callers request in this turn of the event loop.
      if (waiting.length === 0) setImmediate(begin)
      waiting.push({ title, text: withArguments(text, args), stdin, options, answer, fail })
    })
  }
  return {
    machine: host.machine,
    target: host.target,
    get escalation() {
      return host.escalation
    },
    get noisyShell() {
      return host.noisyShell
    },
    script,
    exec: (argv, options) => script(`exec ${argv.map(shellQuote).join(' ')}\n`, [], options),
    forwardFromRemote: (...given) => host.forwardFromRemote(...given),
    connectTcp: (...given) => host.connectTcp(...given),
    close: () => host.close(),
  }
}

/** Half of the longest argument that Linux accepts (MAX_ARG_STRLEN, 128 KiB). */
const longestText = 64 * 1024

function canBeBatched(text: string, { asLoginUser }: RemoteOptions): boolean {
  return asLoginUser !== true && text.length <= longestText
}

function isStream(stdin: RemoteOptions['stdin']): stdin is NodeJS.ReadableStream {
  return typeof stdin === 'object' && !(stdin instanceof Uint8Array)
}

function withArguments(text: string, args: readonly string[]): string {
  return args.length === 0 ? text : `set -- ${args.map(shellQuote).join(' ')}\n${text}`
}

async function runBatch(host: Host, batch: readonly Waiting[]): Promise<void> {
  const scripts = withoutDoubles(batch)
  const lines: string[] = []
  const onLine = (line: string, stream: 'stdout' | 'stderr') => {
    if (stream === 'stdout') lines.push(line)
  }
  const mark = `hydra-ops-${randomBytes(8).toString('hex')}`
  try {
    const result = await runAll(host, mark, scripts, onLine)
    const answers = scripts.length === 1 ? new Map([[0, result]]) : answersIn(mark, result.stdout)
    // A script that did not end gets the result of the whole command, such as a lost connection.
    for (const each of batch) deliver(each, answers.get(indexOf(scripts, each)) ?? { ...result, stdout: '' })
  } catch (error) {
    const answers = answersIn(mark, `${lines.join('\n')}\n`)
    const slow = scripts[answers.size]
    for (const each of batch) {
      const answer = answers.get(indexOf(scripts, each))
      if (answer === undefined) each.fail(ofScript(error, host, slow))
      else deliver(each, answer)
    }
  }
}

async function runAll(
  host: Host,
  mark: string,
  scripts: readonly Waiting[],
  onLine: RemoteOptions['onLine'] & {},
): Promise<CommandResult> {
  const [first] = scripts
  if (first === undefined) throw new Error('there is no script to run')
  if (scripts.length === 1) {
    // `deliver` passes the lines to `onLine` later.
    const { onLine: _, ...options } = first.options
    return host.script(first.text, [], options)
  }
  return host.script(joinedScript(mark, scripts), [], {
    signal: first.options.signal,
    timeoutMs: Math.max(...scripts.map(({ options }) => options.timeoutMs)),
    what: scripts.map(({ title }) => title).join(', '),
    stdin: scripts.map(({ stdin }) => `${stdin === undefined ? '-' : base64(stdin)}\n`).join(''),
    onLine,
  })
}

function withoutDoubles(batch: readonly Waiting[]): Waiting[] {
  return batch.filter((each, index) => indexOf(batch, each) === index)
}

function indexOf(scripts: readonly Waiting[], wanted: Waiting): number {
  return scripts.findIndex(({ text, stdin }) => text === wanted.text && stdin === wanted.stdin)
}

function base64(stdin: string | Uint8Array): string {
  return Buffer.from(stdin).toString('base64')
}

/**
 * Blames a deadline on the first script that did not end. Later scripts report the same cause, because their answers
 * waited for that script.
 */
function ofScript(error: unknown, host: Host, slow: BatchedScript | undefined): unknown {
  if (!(error instanceof OpsError) || error.code !== 'DEADLINE' || slow === undefined) return error
  const message = `machine '${host.machine}': '${slow.title}' did not end in time`
  const hint = `hydra-ops ssh ${host.machine} shows whether the machine is busy; run the same command again when the machine is idle`
  return failure('DEADLINE', message, { machine: host.machine, cause: error, hint })
}

function deliver({ options, answer }: Waiting, result: CommandResult): void {
  for (const stream of ['stdout', 'stderr'] as const) {
    const lines = result[stream].split('\n')
    if (lines.at(-1) === '') lines.pop()
    for (const line of lines) options.onLine?.(line, stream)
  }
  answer(result)
}

/** Builds the one script that runs all given scripts (target/together.sh). */
export function joinedScript(mark: string, scripts: readonly BatchedScript[]): string {
  const values = scripts.map(({ title, text }, index) => ({
    [`title_${index + 1}`]: title,
    [`text_${index + 1}`]: text,
  }))
  return targetScript('together', Object.assign({ mark, count: scripts.length }, ...values))
}

/** Reads the answers in the output of target/together.sh, by position; a script that did not end has no answer. */
function answersIn(mark: string, output: string): Map<number, CommandResult> {
  const answers = new Map<number, CommandResult>()
  const pattern = new RegExp(
    `^${mark} begin (\\d+) .*\\n([\\s\\S]*?)\\n?^${mark} end \\1 (\\d+)\\n([\\s\\S]*?)\\n^${mark} next$`,
    'gm',
  )
  for (const [, number, stdout = '', code, stderr = ''] of output.matchAll(pattern)) {
    answers.set(Number(number) - 1, { kind: 'exited', code: Number(code), stdout, stderr })
  }
  return answers
}

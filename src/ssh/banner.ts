import { messageOf, OpsError, throwIfAborted, unreachable } from '../core/errors.js'
import { pause, pauseUnless } from '../core/pause.js'
import type { SshTarget } from '../core/ssh.js'
import { bounded } from './bounded.js'
import { describeSocketError } from './connect-errors.js'
import { hasProxy, openWay, type WayOptions } from './jump.js'

/**
 * The pause between overlapping attempts. A machine is reachable when it shows an SSH banner, not when its port accepts
 * connections. QEMU's user networking accepts within 3 ms without a guest behind it, and then stays silent (measured).
 * Such a connection never becomes usable, so short attempts overlap. A patient attempt runs beside the short attempts,
 * for an sshd that needs seconds for its first bytes.
 */
const overlapMs = 200
const shortMs = 1_000
const patientMs = 10_000
/**
 * The divisor of the wait so far: attempts become longer and rarer. Each attempt costs a running sshd a process. Five
 * attempts a second keep a guest on an overloaded host (or its MaxStartups) from ever answering (measured). A banner is
 * therefore noticed within 200 ms or a fiftieth of the wait, whichever is longer.
 *
 * A host that has refused an attempt has a working network, because QEMU passes refusals on. An accepted connection
 * then shows that sshd is busy, so sshd gets only one attempt in two seconds, and fewer later. More attempts delayed the
 * answer by two minutes on a slow host with other guests (measured). Attempts continue, because a rebooting guest refuses
 * connections when its sshd ends, and QEMU's later connections stay silent.
 *
 * sshd works on an abandoned attempt until its process has begun. On a busy host these attempts filled MaxStartups (10
 * logins, seen). A full sshd may also refuse the user's own ssh, and therefore gets a rest.
 */
const rarerBy = 50
const longerBy = 20
const atWorkMs = 2_000
const rarerAtWorkBy = 8
const longerAtWorkBy = 3
const fullMs = 10_000
/** The time limit through a proxy, where an attempt costs a process and a login at the jump host. */
const proxiedMs = 20_000
const betweenMs = 1_000

/**
 * Maximum number of bytes before the banner. RFC 4253, 4.2 allows lines before the banner; another protocol may send
 * lines without end.
 */
const maxPreamble = 8_192

type Look =
  | { readonly kind: 'banner' }
  /**
   * `hopeless`: a longer wait cannot help. `refused`: the host is up, but accepts no connection yet. `full`: sshd has
   * reached MaxStartups.
   */
  | {
      readonly kind: 'none'
      readonly state: string
      readonly hopeless: boolean
      readonly refused: boolean
      readonly full: boolean
    }

/** Facts about a host from all attempts so far. */
interface Seen {
  /** Whether the host has ever refused an attempt. */
  refused: boolean
  /** Time before which a full sshd gets no further attempt. */
  restUntil: number
}

type Tools = Omit<WayOptions, 'signal'>

/** Implements `Ssh.waitForBanner`. */
export async function waitForBanner(
  target: SshTarget,
  wait: { readonly signal: AbortSignal; readonly timeoutMs: number; onState?(state: string): void },
  tools: Tools,
): Promise<void> {
  throwIfAborted(wait.signal)
  const stop = new AbortController()
  let state = 'no answer yet'
  const seen: Seen = { refused: false, restUntil: 0 }
  const answered = new Promise<Look>((resolve, reject) => {
    const look = async (lastMs: number) => {
      const options = { ...tools, signal: stop.signal, forLogin: true }
      const result = await lookOnce(target, lastMs, options)
      if (stop.signal.aborted) return
      if (result.kind === 'none') {
        seen.refused ||= result.refused
        if (result.full) seen.restUntil = Date.now() + fullMs
        if (result.state !== state) wait.onState?.(result.state)
        state = result.state
      }
      if (result.kind === 'banner' || result.hopeless) resolve(result)
    }
    keepLooking(target, look, seen, stop.signal).catch(reject)
  })
  try {
    const result = await bounded(answered, wait, {
      what: `wait for ssh of machine '${target.machine}'`,
      late: () => notSeen(target, `${state} for ${wait.timeoutMs / 1000} s`),
    })
    if (result.kind === 'none') throw notSeen(target, result.state)
  } finally {
    stop.abort()
  }
}

/** Implements `Ssh.probe`. */
export async function probe(
  target: SshTarget,
  options: { readonly signal: AbortSignal; readonly timeoutMs: number },
  tools: Tools,
): Promise<boolean> {
  const look = lookOnce(target, options.timeoutMs, { ...tools, signal: options.signal })
  const result = await bounded(
    look,
    { ...options, timeoutMs: options.timeoutMs + betweenMs },
    { what: `look for ssh of machine '${target.machine}'`, late: () => notSeen(target, 'no answer') },
  )
  return result.kind === 'banner'
}

/** Computes the length of an attempt, and the pause until the next attempt, after a wait. */
export function paceAfter(waited: number, refused: boolean): { lastMs: number; pauseMs: number } {
  return refused
    ? {
        lastMs: Math.max(patientMs, waited / longerAtWorkBy),
        pauseMs: Math.max(atWorkMs, waited / rarerAtWorkBy),
      }
    : { lastMs: Math.max(shortMs, waited / longerBy), pauseMs: Math.max(overlapMs, waited / rarerBy) }
}

/** Makes attempts until the signal stops them; rejects when an attempt cannot even start. */
async function keepLooking(
  target: SshTarget,
  look: (lastMs: number) => Promise<void>,
  seen: Readonly<Seen>,
  signal: AbortSignal,
): Promise<void> {
  const begin = Date.now()
  const rest = async () => {
    while (Date.now() < seen.restUntil) await pause(seen.restUntil - Date.now(), signal)
  }
  const patiently = async (leastMs: number) => {
    while (!signal.aborted) {
      await look(Math.max(leastMs, paceAfter(Date.now() - begin, seen.refused).lastMs))
      await pause(betweenMs, signal)
      await rest()
    }
  }
  const overlapping = async () => {
    // The patient attempt is enough for a machine that is up.
    await pause(overlapMs, signal)
    while (!signal.aborted) {
      const waited = Date.now() - begin
      const { refused } = seen
      const { lastMs, pauseMs } = paceAfter(waited, refused)
      // The patient attempt reports any error.
      const attempt = look(lastMs).catch(() => {})
      if (refused) await pauseUnless(attempt, pauseMs, signal)
      await pause(paceAfter(waited, false).pauseMs, signal)
      await rest()
    }
  }
  try {
    await (hasProxy(target) ? patiently(proxiedMs) : Promise.race([patiently(patientMs), overlapping()]))
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

interface LookOptions extends WayOptions {
  /** Whether a login usually follows, for which a connection with a banner is kept. */
  readonly forLogin?: boolean
}

/** Opens one connection, and returns whether the server showed a banner or why it did not. */
async function lookOnce(target: SshTarget, lastMs: number, options: LookOptions): Promise<Look> {
  const way = openWay(target, options)
  let accepted = false
  let read = Buffer.alloc(0)
  let kept = false
  const text = () => read.toString('latin1')
  void way.connected.then(
    () => {
      accepted = true
    },
    () => {},
  )
  const none = (state: string, refused = false, full = false): Look => {
    const said = way.said()
    return { kind: 'none', state: said === '' ? state : said, hopeless: isHopeless(said), refused, full }
  }
  try {
    return await new Promise<Look>((resolve) => {
      const timer = setTimeout(() => resolve(none(whenSilent(accepted, text()))), lastMs)
      const end = () => {
        if (isFull(text())) resolve(none('sshd accepts no more new connections (MaxStartups)', true, true))
        else resolve(text() === '' ? none('the server closes the connection at once', true) : none(notSsh))
      }
      const onData = (chunk: Buffer) => {
        read = Buffer.concat([read, chunk])
        if (/(?:^|\n)SSH-/.test(text())) greeted()
        else if (read.length > maxPreamble) resolve(none(notSsh))
      }
      const onError = (error: Error) => {
        // A longer wait does not help if the proxy's program is missing.
        if (error instanceof OpsError)
          resolve({ kind: 'none', state: error.message, hopeless: true, refused: false, full: false })
        else resolve(none(describeSocketError(codeOf(error), messageOf(error)), isRefusal(codeOf(error))))
      }
      const onClose = () => {
        clearTimeout(timer)
        end()
      }
      const greeted = () => {
        kept = options.forLogin === true && !hasProxy(target) && !options.signal.aborted
        if (kept) {
          clearTimeout(timer)
          way.stream.off('data', onData).off('error', onError).off('end', end).off('close', onClose)
          options.greeted.keep(target, way.stream, read)
        }
        resolve({ kind: 'banner' })
      }
      way.stream.on('data', onData).on('error', onError).on('end', end).on('close', onClose)
    })
  } finally {
    if (!kept) way.stream.destroy()
  }
}

const notSsh = 'the server does not speak SSH'

function whenSilent(accepted: boolean, text: string): string {
  if (!accepted) return 'no answer'
  return text === '' ? 'the server accepts the connection but sends nothing' : notSsh
}

/** Recognizes the answer of an sshd that has reached MaxStartups: the text up to OpenSSH 9.7, and the later text. */
function isFull(text: string): boolean {
  return /^(?:Exceeded MaxStartups|Not allowed at this time)\r?\n/.test(text)
}

function isRefusal(code: string | undefined): boolean {
  return code === 'ECONNREFUSED' || code === 'ECONNRESET'
}

function isHopeless(said: string): boolean {
  return /Host key verification failed|Permission denied|Could not resolve hostname/.test(said)
}

function codeOf(error: Error): string | undefined {
  return 'code' in error && typeof error.code === 'string' ? error.code : undefined
}

function notSeen(target: SshTarget, state: string): Error {
  const { machine, host, port } = target
  const through = target.jump === undefined ? '' : ` through ${target.jump}`
  return unreachable(machine, `machine '${machine}': no ssh at ${host}:${port}${through}: ${state}`, {
    hint: `check that the machine is up and runs sshd: hydra-ops check`,
  })
}

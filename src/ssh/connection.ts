import type { Client } from 'ssh2'
import type { Bounds } from '../core/deadline.js'
import { failure, messageOf, OpsError, unreachable } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { RemoteOptions, SshTarget } from '../core/ssh.js'
import { bounded, within } from './bounded.js'
import type { Nonce } from './command-line.js'
import { FramedCommand, type Outcome } from './framed-command.js'
import { newNonce } from './framing.js'
import { Slots } from './slots.js'
import { stopCommand } from './stop-command.js'
import type { Launch } from './sudo.js'

/** sshd's default allows ten sessions per connection; two are left for ending commands. */
const maxCommands = 8
const maxStops = 2
/** How long a cancelled command that has not begun yet may take to say which process it is. */
const beginMs = 3_000
const stopMs = 8_000
/** How long a connection that we close may take to say good-bye. */
const goodbyeMs = 1_000
/** Between two tries to open a channel that the server refuses. */
const refusedMs = 200
/** sshd counts a session until its login shell has exited, which may be after its channel was closed. */
const forgottenMs = 10_000

export type CommandOptions = Pick<RemoteOptions, 'signal' | 'timeoutMs' | 'what' | 'stdin' | 'onLine'>

/** How a script becomes a command line: as the login user, or as root. */
export type Launcher = (nonce: Nonce, script: string) => Launch

export interface Ran {
  readonly outcome: Outcome
  /** The login shell wrote to stdout by itself. Complete only when the channel is closed. */
  noisy(): boolean
  readonly closed: Promise<void>
}

/** One logged-in connection: opens channels for framed commands and ends what is cancelled. */
export class Connection {
  readonly client: Client
  readonly target: SshTarget
  readonly #commands = new Slots(maxCommands)
  readonly #stops = new Slots(maxStops)
  #lost: string | undefined

  constructor(client: Client, target: SshTarget) {
    this.client = client
    this.target = target
    client.on('error', (error) => {
      this.#lost ??= messageOf(error)
    })
    client.once('close', () => {
      this.#lost ??= 'closed'
    })
  }

  close(): void {
    this.#lost ??= 'closed by us'
    this.client.end()
    // A peer that is frozen would keep the process alive until keepalive gives it up.
    const cut = setTimeout(() => this.client.destroy(), goodbyeMs)
    this.client.once('close', () => clearTimeout(cut))
  }

  /** Throws when it is cancelled, past its deadline, or cannot be started; how it ended is in the outcome. */
  async run(script: string, launcher: Launcher, options: CommandOptions): Promise<Ran> {
    const nonce = newNonce()
    const { command, bounds } = await this.#start(launcher(nonce, script), nonce, options)
    try {
      const outcome = await this.#waitFor(command.ended, options, bounds(), () => command.stderrTail)
      return { outcome, noisy: () => command.noisy, closed: command.closed }
    } catch (error) {
      if (await this.#stop(command, nonce, launcher)) throw error
      throw stillRunning(error, this.target)
    }
  }

  requireAlive(): void {
    if (this.#lost === undefined) return
    const { machine, host, port } = this.target
    throw unreachable(
      machine,
      `machine '${machine}': the connection to ${host}:${port} is lost (${this.#lost})`,
      {
        hint: 'the same command again connects anew and goes on',
      },
    )
  }

  /** The deadline counts from the moment the command has a slot. */
  async #start(launch: Launch, nonce: Nonce, options: CommandOptions): Promise<Started> {
    let refusedUntil: number | undefined
    for (;;) {
      await this.#commands.take(options.signal)
      const deadline = Date.now() + options.timeoutMs
      const bounds = () => ({ signal: options.signal, timeoutMs: Math.max(1, deadline - Date.now()) })
      try {
        const command = await this.#open(launch, nonce, options, bounds())
        void command.closed.then(() => this.#commands.release())
        return { command, bounds }
      } catch (error) {
        const alone = this.#commands.taken === 1
        // A server that allows fewer sessions than usual: wait until one of ours is over, or is forgotten there.
        if (isRefusedChannel(error) && !alone) this.#commands.shrink()
        this.#commands.release()
        refusedUntil ??= Date.now() + forgottenMs
        if (!isRefusedChannel(error) || (alone && Date.now() > refusedUntil)) {
          throw error instanceof OpsError ? error : this.#cannotStart(error, options)
        }
      }
      await pause(refusedMs, options.signal)
    }
  }

  async #open(launch: Launch, nonce: Nonce, options: CommandOptions, bounds: Bounds): Promise<FramedCommand> {
    this.requireAlive()
    const opening = openCommand(this.client, launch, nonce, options)
    try {
      return await this.#waitFor(opening, options, bounds, () => '')
    } catch (error) {
      // Given up on the way: it runs there none the less. The caller finds out that it is over and ends it.
      const late = await within(opening, beginMs)
      if (late === undefined) throw error
      return late
    }
  }

  #cannotStart(error: unknown, options: CommandOptions): Error {
    this.requireAlive()
    const { machine } = this.target
    return failure(
      'CHANNEL',
      `machine '${machine}': ${options.what}: sshd opens no session (${messageOf(error)})`,
      {
        machine,
        cause: error,
      },
    )
  }

  /** Ends the command and its children on the far side; false when that could not be made sure. */
  async #stop(command: FramedCommand, nonce: Nonce, launcher: Launcher): Promise<boolean> {
    const begun = await within(command.begun, beginMs)
    let ended = true
    if (begun !== undefined && this.#lost === undefined) {
      ended = await this.#runStop(stopCommand(begun, nonce), launcher)
    }
    command.close()
    return ended && this.#lost === undefined
  }

  async #runStop(script: string, launcher: Launcher): Promise<boolean> {
    const never = new AbortController().signal
    const options = { signal: never, timeoutMs: stopMs, what: 'end a cancelled command' }
    await this.#stops.take(never)
    try {
      const command = await this.#openStop(script, launcher, options)
      const outcome = await within(command.ended, stopMs)
      command.close()
      return outcome?.kind === 'exited' && outcome.code === 0
    } catch {
      return false
    } finally {
      this.#stops.release()
    }
  }

  /** Where the server refuses one more session, another stop may soon free one. */
  async #openStop(script: string, launcher: Launcher, options: CommandOptions): Promise<FramedCommand> {
    const nonce = newNonce()
    const launch = launcher(nonce, script)
    const deadline = Date.now() + options.timeoutMs
    for (;;) {
      try {
        return await this.#open(launch, nonce, options, options)
      } catch (error) {
        if (!isRefusedChannel(error) || Date.now() > deadline) throw error
        await pause(refusedMs, options.signal)
      }
    }
  }

  #waitFor<T>(
    thing: Promise<T>,
    { what, timeoutMs }: CommandOptions,
    bounds: Bounds,
    evidence: () => string,
  ): Promise<T> {
    const { machine } = this.target
    return bounded(thing, bounds, {
      what,
      late: () => {
        const detail = evidence()
        return failure(
          'DEADLINE',
          `machine '${machine}': ${what}: did not end within ${timeoutMs / 1000} s`,
          {
            machine,
            ...(detail === '' ? {} : { detail }),
          },
        )
      },
    })
  }
}

interface Started {
  readonly command: FramedCommand
  /** What is left of the command's time. */
  bounds(): Bounds
}

/** Listens before anything else happens: a short command's status may be in the very packet that opens its channel. */
function openCommand(
  client: Client,
  launch: Launch,
  nonce: Nonce,
  options: CommandOptions,
): Promise<FramedCommand> {
  return new Promise((resolve, reject) => {
    client.exec(launch.command, (error, channel) =>
      error ? reject(error) : resolve(new FramedCommand(channel, nonce, launch, options)),
    )
  })
}

/** ssh2 gives the reason code of SSH_MSG_CHANNEL_OPEN_FAILURE, which nothing else has. */
function isRefusedChannel(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'reason' in error
}

function stillRunning(error: unknown, target: SshTarget): unknown {
  if (!(error instanceof OpsError)) return error
  const detail = `it could not be ended on machine '${target.machine}' and may still be running there`
  return new OpsError(error.code, error.exitCode, error.message, {
    machine: target.machine,
    cause: error,
    detail: error.detail === undefined ? detail : `${error.detail}\n${detail}`,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  })
}

import type { Client } from 'ssh2'
import type { Bounds } from '../core/deadline.js'
import { failure, messageOf, OpsError, unreachable } from '../core/errors.js'
import { pause } from '../core/pause.js'
import type { RemoteOptions, SshTarget } from '../core/ssh.js'
import { bounded, within } from './bounded.js'
import type { Nonce } from './command-line.js'
import { type Begun, FramedCommand, type Outcome } from './framed-command.js'
import { newNonce } from './framing.js'
import { Slots } from './slots.js'
import { stopCommand } from './stop-command.js'
import type { Launch } from './sudo.js'

/**
 * Maximum number of commands at once. sshd's default allows ten sessions per connection; two sessions are left for
 * ending commands.
 */
const maxCommands = 8
const maxStops = 2
/** The time in which a command that was cancelled before its start must report its process. */
const beginMs = 3_000
const stopMs = 8_000
/** The time for the peer to acknowledge the close of a connection. */
const goodbyeMs = 1_000
/** The pause before another try to open a channel that the server has refused. */
const refusedMs = 200
/**
 * The time until sshd forgets a session. sshd counts a session until its login shell has exited, possibly after the
 * close of its channel.
 */
const forgottenMs = 10_000

export type CommandOptions = Pick<RemoteOptions, 'signal' | 'timeoutMs' | 'what' | 'stdin' | 'onLine'>

/** A function that builds a command line from a script, for the login user or for root. */
export type Launcher = (nonce: Nonce, script: string) => Launch

export interface Ran {
  readonly outcome: Outcome
  /** The start of the command; undefined for a command that did not begin. */
  readonly begun: Begun | undefined
  /** Tells whether the login shell itself wrote to stdout; final only when the channel is closed. */
  noisy(): boolean
  readonly closed: Promise<void>
}

/** One logged-in connection, which opens channels for framed commands and ends cancelled commands. */
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
    // A frozen peer would otherwise keep this process alive until the keepalive ends the connection.
    const cut = setTimeout(() => this.client.destroy(), goodbyeMs)
    this.client.once('close', () => clearTimeout(cut))
  }

  /** Runs a command. A cancellation, a deadline or a failed start throws; the outcome tells how the command ended. */
  async run(script: string, launcher: Launcher, options: CommandOptions): Promise<Ran> {
    const nonce = newNonce()
    const { command, bounds } = await this.#start(launcher(nonce, script), nonce, options)
    try {
      const outcome = await this.#waitFor(command.ended, options, bounds(), () => command.stderrTail)
      const begun = outcome.kind === 'not begun' ? undefined : await within(command.begun, 0)
      return { outcome, begun, noisy: () => command.noisy, closed: command.closed }
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
        hint: 'run the same command again; the command then continues over a new connection',
      },
    )
  }

  /** Starts a command in a slot; the deadline counts from the moment when a slot is free. */
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
        // The server allows fewer sessions than usual. The command waits until one of our sessions ends, or until sshd
        // forgets an ended session.
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
      // The wait has ended, but the server may still start the command. A late command is returned, so that `run` sees
      // the expired bounds and stops the command.
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
      `machine '${machine}': cannot ${options.what}: sshd opens no session (${messageOf(error)})`,
      {
        machine,
        cause: error,
      },
    )
  }

  /** Ends the command and its children on the machine; returns false if their end is not certain. */
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

  /** Opens a channel for a stop command. The server may refuse another session until a different stop command ends. */
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
          `machine '${machine}': cannot ${what}: the command did not end within ${timeoutMs / 1000} s`,
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
  /** Returns the bounds for the rest of the command's time. */
  bounds(): Bounds
}

/** Opens a channel and listens at once. The packet that opens the channel may already hold a short command's status. */
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

/** Tells whether an error has the reason code of SSH_MSG_CHANNEL_OPEN_FAILURE, which only refused channels have. */
function isRefusedChannel(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'reason' in error
}

function stillRunning(error: unknown, target: SshTarget): unknown {
  if (!(error instanceof OpsError)) return error
  const detail = `the command could not be stopped on machine '${target.machine}' and may still run there`
  return new OpsError(error.code, error.exitCode, error.message, {
    machine: target.machine,
    cause: error,
    detail: error.detail === undefined ? detail : `${error.detail}\n${detail}`,
    ...(error.hint === undefined ? {} : { hint: error.hint }),
  })
}

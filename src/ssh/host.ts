import type { Duplex } from 'node:stream'
import type { CommandResult, ConnectOptions, Host, RemoteOptions, SshTarget } from '../core/ssh.js'
import { askPassword } from './become-root.js'
import { argvScript, type Nonce, parameterScript } from './command-line.js'
import type { Connection } from './connection.js'
import { connectFromRemote, forwardFromRemote } from './forward.js'
import type { Outcome } from './framed-command.js'
import { loginShellBroken } from './login-shell.js'
import {
  canTakePassword,
  type Escalation,
  launchAsLoginUser,
  launchAsRoot,
  noEscalation,
  wantsPassword,
} from './sudo.js'

/** One connection to one machine, as the rest of hydra-ops uses it. */
export class RemoteHost implements Host {
  readonly target: SshTarget
  readonly #connection: Connection
  readonly #options: ConnectOptions
  #escalation: Escalation
  #noisy: boolean | undefined
  #asking: Promise<Escalation> | undefined

  constructor(connection: Connection, target: SshTarget, options: ConnectOptions) {
    this.#connection = connection
    this.#options = options
    this.#escalation = { kind: target.user === 'root' ? 'root' : 'untried' }
    this.target = target
  }

  get machine(): SshTarget['machine'] {
    return this.target.machine
  }

  get escalation(): Host['escalation'] {
    return this.#escalation.kind
  }

  /** Whether the login shell prints text of its own. An untested shell counts as noisy until a command has run. */
  get noisyShell(): boolean {
    return this.#noisy ?? true
  }

  exec(argv: readonly string[], options: RemoteOptions): Promise<CommandResult> {
    return this.#run(argvScript(argv), options)
  }

  script(text: string, args: readonly string[], options: RemoteOptions): Promise<CommandResult> {
    return this.#run(parameterScript(text, args), options)
  }

  async forwardFromRemote(
    operatorPort: number,
    options: { signal: AbortSignal },
  ): Promise<{ port: number; close(): Promise<void> }> {
    this.#connection.requireAlive()
    return forwardFromRemote(this.#connection.client, this.target, operatorPort, options)
  }

  async connectTcp(
    host: string,
    port: number,
    options: { signal: AbortSignal; timeoutMs: number },
  ): Promise<Duplex> {
    this.#connection.requireAlive()
    return connectFromRemote(this.#connection.client, this.target, { host, port }, options)
  }

  close(): void {
    this.#connection.close()
  }

  async #run(script: string, options: RemoteOptions): Promise<CommandResult> {
    try {
      const used = this.#escalation
      const outcome = await this.#runOnce(script, options)
      if (outcome.kind !== 'not begun') return outcome
      if (!outcome.shellWorks) throw loginShellBroken(this.target, outcome)
      const asks = canTakePassword(this.target) && wantsPassword(outcome.said)
      if (used.kind === 'sudo-password' || !asks) throw this.#noRoot(outcome)
      await this.#escalateAgain(outcome.said)
      const again = await this.#runOnce(script, options)
      if (again.kind === 'not begun') throw this.#noRoot(again)
      return again
    } catch (error) {
      discard(options.stdin)
      throw error
    }
  }

  async #runOnce(script: string, options: RemoteOptions): Promise<Outcome> {
    const asRoot = options.asLoginUser !== true
    const launcher = asRoot
      ? (nonce: Nonce, text: string) => launchAsRoot(nonce, text, this.#connection.target, this.#escalation)
      : launchAsLoginUser
    const ran = await this.#connection.run(script, launcher, options)
    this.#noisy = this.#noisy === true || ran.noisy()
    if (asRoot && this.#escalation.kind === 'untried') this.#learnWay(ran.begun?.way)
    return ran.outcome
  }

  /** Records the way to root that the first command found. */
  #learnWay(way: string | undefined): void {
    if (way === 'root' || way === 'sudo') this.#escalation = { kind: way }
  }

  /** Switches to the password, which is asked for once. The ticket that made the password unnecessary has expired. */
  async #escalateAgain(said: string): Promise<void> {
    // All commands wait for the same answer, so the end of one command does not end the question.
    this.#asking ??= askPassword(this.#connection, this.#options, said)
    this.#escalation = await this.#asking
  }

  #noRoot(outcome: Extract<Outcome, { kind: 'not begun' }>): Error {
    return noEscalation({ target: this.target, said: outcome.said }, outcome.code ?? 1)
  }
}

/** Destroys a stdin stream, so that its writer notices that nothing reads the stream. */
function discard(stdin: RemoteOptions['stdin']): void {
  if (typeof stdin !== 'object' || !('on' in stdin)) return
  if ('destroy' in stdin && typeof stdin.destroy === 'function') stdin.destroy()
}

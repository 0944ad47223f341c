/** What every operation that can take a while is given. */
export interface Run {
  /** Fires on Ctrl-C, SIGTERM, or when the step's deadline has passed. */
  readonly signal: AbortSignal
  /** One line for the log of the machine (or of the command) that is being worked on. Never a secret. */
  log(line: string): void
}

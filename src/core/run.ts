/** The parameters of every operation that can take a while. */
export interface Run {
  /** The signal that fires on Ctrl-C, SIGTERM, or the step's deadline. */
  readonly signal: AbortSignal
  /** Logs one line for the current machine or command. The line never contains a secret. */
  log(line: string): void
}

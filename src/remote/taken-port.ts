import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from './run-script.js'

/** A port for a service to listen on. */
export interface ServicePort {
  readonly port: number
  /** Unit whose own processes may use the port. */
  readonly unit: string
  /** Hint for a port that another process uses. */
  readonly hint: string
}

/** The package with `ss`, which shows the process that listens on a port. */
export const portPackages = ['iproute2']

/** Throws an error that names the other process, if another process uses the port. */
export async function refuseTakenPort(
  host: Host,
  { port, unit, hint }: ServicePort,
  run: Run,
): Promise<void> {
  const question = {
    what: `find the program that listens on port ${port}`,
    script: 'services/port',
    values: { port, unit },
  }
  const holder = fact(await askMachine(host, question, run), 'holder')
  if (holder === '') return
  throw failure('PORT_TAKEN', `machine '${host.machine}': port ${port} is taken by ${holder}`, {
    machine: host.machine,
    hint,
  })
}

import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from './run-script.js'

/** A port that a service is to listen on. */
export interface ServicePort {
  readonly port: number
  /** The unit whose own processes may have it. */
  readonly unit: string
  /** What to do about a stranger. */
  readonly hint: string
}

/** `ss` of Debian's iproute2 tells who listens. */
export const portPackages = ['iproute2']

/** An error that names who has the port, where it is somebody else. */
export async function refuseTakenPort(
  host: Host,
  { port, unit, hint }: ServicePort,
  run: Run,
): Promise<void> {
  const question = {
    what: `look who listens on port ${port}`,
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

import type { OpsError } from '../../src/core/errors.js'
import type { Observation } from '../../src/core/provider.js'

/** Reports a machine whose hypervisor does not answer, with the remedy in the same sentence. */
export function unknownState({ message, hint }: OpsError): Observation {
  return { kind: 'unknown', reason: hint === undefined ? message : `${message} (${hint})` }
}

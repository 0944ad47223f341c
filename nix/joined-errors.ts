import { type OpsError, usageError } from '../src/core/errors.js'

/** Maximum number of machines that an error names for one fault. */
const mostNamed = 3

/** Tells whether two machines have the same fault, which most likely lies in a shared definition. */
export function hasCommonCause(errors: readonly OpsError[]): boolean {
  return new Set(errors.map((error) => faultOf(error.message))).size < errors.length
}

/** Joins all errors, with one line for each; a fault of several machines appears once. */
export function together(errors: readonly OpsError[]): OpsError {
  const [first, ...others] = errors
  if (first === undefined) return usageError('the network expression is not valid')
  if (others.length === 0) return first
  const faults = new Map<string, { machines: string[]; hint: string | undefined }>()
  for (const { message, machine, hint } of errors) {
    for (const line of message.split('\n')) {
      const fault = faults.get(faultOf(line)) ?? { machines: [], hint }
      if (machine !== undefined) fault.machines.push(machine)
      faults.set(faultOf(line), fault)
    }
  }
  const lines = [...faults].map(([fault, { machines, hint }]) => {
    const tail = hint === undefined || faults.size === 1 ? '' : ` [${hint}]`
    return `${named(machines)}${fault}${tail}`
  })
  const details = errors.flatMap((error) => error.detail ?? [])
  return usageError(lines.join('\n'), {
    ...(faults.size > 1 || first.hint === undefined ? {} : { hint: first.hint }),
    ...(details.length === 0 ? {} : { detail: [...new Set(details)].join('\n\n') }),
  })
}

/** Returns the line without its machine. */
function faultOf(line: string): string {
  return line.replace(/^machine '[^']*'/, '')
}

function named(machines: readonly string[]): string {
  const [only, ...others] = machines
  if (only === undefined) return ''
  if (others.length === 0) return `machine '${only}'`
  const shown = machines.slice(0, mostNamed).map((name) => `'${name}'`)
  const rest = machines.length - shown.length
  return `machines ${shown.join(', ')}${rest === 0 ? '' : ` and ${rest} more`}`
}

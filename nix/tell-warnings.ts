import type { NetworkDefinition } from '../src/core/definition.js'
import type { Run } from '../src/core/run.js'
import { ansiColours, shorten, subject } from './evaluation-errors.js'
import type { EvaluationOutput } from './evaluation-output.js'
import { tellsLeftAlone } from './nixos-hydra.js'
import { oneLine } from './nixos-output.js'
import { trapText } from './nixos-traps.js'

/**
 * Logs hydra-ops's remarks on NixOS definitions and the warnings of NixOS modules, each with its machine and
 * file.
 */
export function tellWarnings(
  { machines }: EvaluationOutput,
  network: NetworkDefinition,
  cwd: string,
  run: Run,
): void {
  for (const [name, definition] of network.machines) {
    const raw = machines[name]
    if (definition.os !== 'nixos' || raw === undefined || !('hydra' in raw)) continue
    for (const trap of raw.traps) {
      run.log(`warning: ${subject(name, trap.files, cwd)}${trapText(trap)}`)
    }
    for (const note of tellsLeftAlone(raw.hydra, definition.options.hydra)) {
      run.log(`note: ${subject(name, [], cwd)}${note}`)
    }
  }
  for (const [name, machine] of Object.entries(machines)) {
    if (!('warnings' in machine)) continue
    for (const { file, text } of machine.warnings) {
      run.log(`warning: ${subject(name, [file], cwd)}${shorten(oneLine(text), cwd)}`)
    }
  }
}

/** Returns the traces without the warnings of NixOS modules, which nixpkgs prints without naming the machine. */
export function otherTraces(traces: readonly string[], { machines }: EvaluationOutput): string[] {
  const told = new Set(
    Object.values(machines).flatMap((machine) =>
      'warnings' in machine ? machine.warnings.map(({ text }) => text.trim().split('\n', 1)[0]) : [],
    ),
  )
  return traces.filter((line) => {
    const [, text] =
      /^(?:trace: )?(?:evaluation )?warning: (.*)$/.exec(line.replaceAll(ansiColours, '')) ?? []
    return text === undefined || !told.has(text.trim())
  })
}

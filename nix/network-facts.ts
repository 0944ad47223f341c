import * as z from 'zod'
import type { NetworkDefinition } from '../src/core/definition.js'
import { type OpsError, usageError } from '../src/core/errors.js'
import { NetworkHydra } from '../src/core/hydra-source.js'
import { check, unknownOption } from './definition-errors.js'
import { subject } from './evaluation-errors.js'
import type { EvaluationOutput } from './evaluation-output.js'

/** Unsupported attributes of `network` in Morph and Colmena, which would change a deploy. */
const comingOptions: readonly string[] = ['allowApplyAll', 'machinesFile', 'nixConfig']

function expectedOf(option: string): string {
  return option === 'ordering' ? 'ordering.tags: expected a list of strings' : `${option}: expected a string`
}

const Facts = z.object({
  name: z.string().nullable(),
  description: z.string().nullable(),
  ordering: z.array(z.string()),
})

/** Reads the facts of `network`; returns a single error for all mistakes. */
export function readFacts(
  network: EvaluationOutput['network'],
  cwd: string,
): Pick<NetworkDefinition, 'name' | 'description' | 'ordering' | 'hydra' | 'form'> | OpsError {
  const problems = [
    ...network.unknown.map(({ name, files }) => ({
      files,
      say: `network.${name}: ${comingOptions.includes(name) ? 'not supported yet' : unknownOption(name, network.known)}`,
    })),
    ...network.resources,
  ]
  if (problems.length > 0) {
    return usageError(problems.map(({ files, say }) => `${subject(undefined, files, cwd)}${say}`).join('\n'))
  }
  const facts = Facts.safeParse(network)
  if (!facts.success) {
    const options = new Set(facts.error.issues.map(({ path }) => String(path[0])))
    return usageError([...options].map((option) => `network.${expectedOf(option)}`).join('\n'))
  }
  const { name, description, ordering } = facts.data
  const hydra = check(NetworkHydra, network.hydra ?? {}, ['network', 'hydra'])
  if ('issues' in hydra)
    return usageError(hydra.issues.map(({ path, say }) => `${path.join('.')}: ${say}`).join('\n'))
  const { layout, namesNixpkgs, system } = network
  return {
    ...{ name: name ?? undefined, description: description ?? undefined, ordering, hydra: hydra.value },
    form: { layout, namesNixpkgs, system },
  }
}

import * as z from 'zod'
import { MachineKind } from '../src/core/common-options.js'
import { DebianOptions } from '../src/core/debian-options.js'
import {
  type DebianMachine,
  type MachineDefinition,
  ManagedFile,
  ManagedUnit,
  networkLayouts,
} from '../src/core/definition.js'
import { type OpsError, usageError } from '../src/core/errors.js'
import { type Json, jsonSchema } from '../src/core/json.js'
import { MachineName, StorePath } from '../src/core/names.js'
import { optionName } from '../src/core/option-name.js'
import { suggest } from '../src/core/suggest.js'
import { check, type Issue, unknownOption } from './definition-errors.js'
import { subject } from './evaluation-errors.js'
import { isSecret, keyIssues, withModernKeys } from './key-options.js'
import { type FiledIssue, issuesError } from './machine-issues.js'
import { NixosOutput, readNixos } from './nixos-output.js'
import { missingPowers } from './peer-options.js'
import {
  betterSuggestion,
  commonPart,
  type DefinitionRules,
  type ProviderPart,
  providerPart,
} from './provider-part.js'
import { reservedIssues } from './reserved-places.js'

const Files = z.array(z.string())
const Option = z.array(z.union([z.string(), z.number()]))

const Closure = z.object({
  derivation: StorePath,
  output: StorePath,
  files: z.record(z.string(), ManagedFile),
  units: z.record(z.string(), ManagedUnit),
  packageCount: z.number(),
  hasActivate: z.boolean(),
})

const DebianOutput = z.object({
  os: z.literal('debian'),
  files: Files,
  /** Names of the requested files and units. */
  placed: z.object({ files: z.array(z.string()), units: z.array(z.string()) }),
  /** Files that declare `options`, which is not allowed for a Debian machine. */
  refused: Files,
  deployment: z.record(z.string(), jsonSchema),
  origins: z.array(z.object({ path: Option, files: Files })),
  /** Options that a Debian machine does not have. */
  foreign: z.array(z.object({ option: Option, files: Files })),
  /** Problems with files, units and packages. */
  problems: z.array(
    z.union([
      z.object({ option: Option, files: Files, expected: z.string(), got: z.string() }),
      z.object({ option: Option, files: Files, known: z.array(z.string()) }),
      z.object({ option: Option, files: Files, say: z.string(), hint: z.string().optional() }),
    ]),
  ),
  closure: Closure.nullable(),
})
type DebianOutput = z.infer<typeof DebianOutput>

const OtherMachine = z.object({ os: jsonSchema, files: Files })

/** The result of eval.nix. */
export const EvaluationOutput = z.object({
  network: z.object({
    name: jsonSchema,
    description: jsonSchema,
    ordering: jsonSchema,
    hydra: jsonSchema.default(null),
    layout: z.enum(networkLayouts).default('nixops'),
    /** Whether the network names its nixpkgs. NixOS machines of other networks use `<nixpkgs>`. */
    namesNixpkgs: z.boolean().default(false),
    system: z.string().default(''),
    unknown: z.array(z.object({ name: z.string(), files: Files })),
    known: z.array(z.string()),
    resources: z.array(z.object({ say: z.string(), files: Files })),
  }),
  /** NixOS machines that are left to later evaluations. */
  later: z.array(z.string()).default([]),
  machines: z.record(z.string(), z.union([DebianOutput, NixosOutput, OtherMachine])),
})
export type EvaluationOutput = z.infer<typeof EvaluationOutput>

/** Reserved attributes of a network; a machine with a similar name may be a typing mistake. */
const reservedNames = ['network', 'meta', 'defaults', 'resources', 'require']

/** Reads one machine's definition, or lists all its problems. */
export function readMachine(
  name: string,
  raw: EvaluationOutput['machines'][string],
  rules: DefinitionRules,
): MachineDefinition | OpsError {
  const badName = MachineName.safeParse(name)
  if (!badName.success) return nameError(name, raw.files, rules.cwd)
  if (!('deployment' in raw)) return systemError(name, raw, rules.cwd)
  if (raw.os === 'nixos') return readNixos(badName.data, raw, rules)
  const { definition, issues } = readDebian(badName.data, raw, rules)
  return definition ?? issuesError(name, raw, issues, rules.cwd)
}

function nameError(name: string, files: readonly string[], cwd: string): OpsError {
  return usageError(
    `${subject(undefined, files, cwd)}machine ${JSON.stringify(name)}: expected a host name: letters, digits, "-", "_" and ".", at most 63 characters`,
  )
}

function systemError(name: string, raw: z.infer<typeof OtherMachine>, cwd: string): OpsError {
  const who = subject(name, raw.files, cwd)
  if (raw.os === 'nixos') {
    const meant = suggest(name, reservedNames)
    const hint =
      meant === undefined
        ? 'set network.nixpkgs, add -I nixpkgs=PATH, or set deployment.os = "debian"'
        : `did you mean '${meant}'?`
    return usageError(
      `${who}deployment.os = "nixos" (the default) needs nixpkgs, and this network has none`,
      {
        machine: name,
        hint,
      },
    )
  }
  const result = check(MachineKind, raw.os, ['deployment', 'os'])
  const say = 'issues' in result ? result.issues.map((issue) => issue.say).join('; ') : 'not valid'
  return usageError(`${who}deployment.os: ${say}`, { machine: name })
}

interface Reading {
  readonly definition: DebianMachine | undefined
  readonly issues: readonly FiledIssue[]
}

function readDebian(name: MachineName, raw: DebianOutput, rules: DefinitionRules): Reading {
  const { options, issues: secretIssues } = withModernKeys(raw.deployment)
  const common = commonPart(options, rules)
  const parsed = check(DebianOptions, common, ['deployment'], isSecret)
  const provider = providerPart(options, rules)
  const known = 'issues' in parsed ? soundPart(common, parsed.issues) : parsed.value
  const definition = definitionOf(name, raw, known, provider)
  const issues: FiledIssue[] = [
    ...structureIssues(raw),
    ...secretIssues,
    ...('issues' in parsed ? parsed.issues.map((issue) => betterSuggestion(issue, rules)) : []),
    ...missingPowers(known),
    ...keyIssues(known.keys),
    ...provider.issues,
    ...reservedIssues(definition, raw.placed, {
      deployment: rules.deployment,
      tasks: rules.tasks,
      ofProvider: provider.places,
    }),
  ]
  return { definition: issues.length > 0 ? undefined : definition, issues }
}

/** Returns only the valid options, so that one error reports the wrong options and all further problems. */
function soundPart(common: Readonly<Record<string, Json>>, issues: readonly Issue[]): DebianOptions {
  const wrong = new Set(issues.map(({ path }) => String(path[1])))
  const sound = Object.entries(common).filter(([name]) => !wrong.has(name))
  const parsed = DebianOptions.safeParse(Object.fromEntries(sound))
  return parsed.success ? parsed.data : DebianOptions.parse({})
}

function definitionOf(
  name: MachineName,
  raw: DebianOutput,
  options: DebianOptions,
  provider: ProviderPart,
): DebianMachine {
  const { closure } = raw
  return {
    os: raw.os,
    name,
    options,
    providerName: provider.name,
    provider: provider.options,
    ...(closure === null ? {} : { drvPath: closure.derivation, outPath: closure.output }),
    files: closure?.files ?? {},
    units: closure?.units ?? {},
    packageCount: closure?.packageCount ?? 0,
    hasActivate: closure?.hasActivate ?? false,
    origins: Object.fromEntries(raw.origins.map(({ path, files }) => [optionName(path), files])),
  }
}

/** Reports the problems that eval.nix itself found. */
function structureIssues(raw: DebianOutput): FiledIssue[] {
  return [
    ...raw.refused.map((file) => ({
      path: [],
      files: [file],
      say: "the file declares 'options', but the definition of a Debian machine sets deployment.* only",
    })),
    ...raw.foreign.map(({ option, files }) => ({
      path: option,
      files,
      say: 'unknown option; a Debian machine has only deployment.*, and options of NixOS need deployment.os = "nixos"',
    })),
    ...raw.problems.map((problem) => ({
      path: problem.option,
      files: problem.files,
      say: sayOf(problem),
      ...('hint' in problem && problem.hint !== undefined ? { hint: problem.hint } : {}),
    })),
  ]
}

function sayOf(problem: DebianOutput['problems'][number]): string {
  if ('say' in problem) return problem.say
  return 'known' in problem
    ? unknownOption(String(problem.option.at(-1)), problem.known)
    : `expected ${problem.expected}, got ${problem.got}`
}

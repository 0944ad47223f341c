import * as z from 'zod'
import type { AnyProvider } from '../src/core/bind-provider.js'
import { ClosureOptions } from '../src/core/closure-options.js'
import { MachineKind } from '../src/core/common-options.js'
import { DebianOptions } from '../src/core/debian-options.js'
import {
  type DebianMachine,
  type MachineDefinition,
  ManagedFile,
  ManagedUnit,
} from '../src/core/definition.js'
import { type OpsError, usageError } from '../src/core/errors.js'
import { type Json, jsonSchema } from '../src/core/json.js'
import { MachineName, StorePath } from '../src/core/names.js'
import { optionName } from '../src/core/option-name.js'
import type { ReservedPlace } from '../src/core/owned-places.js'
import { suggest } from '../src/core/suggest.js'
import { check, type Issue, knownKeys, unknownOption } from './definition-errors.js'
import { shorten, subject } from './evaluation-errors.js'
import { isSecret, keyIssues, withModernKeys } from './key-options.js'
import { reservedIssues, type TaskBinder } from './reserved-places.js'

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
  /** Files that declare `options`. */
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
    unknown: z.array(z.object({ name: z.string(), files: Files })),
    known: z.array(z.string()),
    resources: z.array(z.object({ name: z.string(), files: Files })),
  }),
  machines: z.record(z.string(), z.union([DebianOutput, OtherMachine])),
})
export type EvaluationOutput = z.infer<typeof EvaluationOutput>

/** The part of a provider that reads its options. */
export type KnownProvider = Pick<
  AnyProvider,
  'name' | 'targetEnvs' | 'optionKey' | 'configSchema' | 'ownedPlaces'
>

export interface DefinitionRules {
  readonly providers: readonly KnownProvider[]
  readonly tasks: readonly TaskBinder[]
  /** The deployment's name in set-up tasks. */
  readonly deployment: string
  readonly cwd: string
}

/** Names of files that a user may have written as a machine's name. */
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
    return usageError(
      `${who}deployment.os = "nixos" (the default) is not supported yet; set deployment.os = "debian"`,
      { machine: name, ...(meant === undefined ? {} : { hint: `did you mean '${meant}'?` }) },
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

type FiledIssue = Issue & { readonly files?: readonly string[]; readonly hint?: string }

function readDebian(name: MachineName, raw: DebianOutput, rules: DefinitionRules): Reading {
  const { options, issues: secretIssues } = withModernKeys(raw.deployment)
  const optionKeys = rules.providers.flatMap(({ optionKey }) => optionKey ?? [])
  const apart = ['os', ...optionKeys]
  const common = Object.fromEntries(Object.entries(options).filter(([key]) => !apart.includes(key)))
  const parsed = check(DebianOptions, common, ['deployment'], isSecret)
  const targetEnv = options.targetEnv ?? 'none'
  const provider = rules.providers.find((each) => each.targetEnvs.includes(String(targetEnv)))
  const wrongOfProvider = provider === undefined ? [] : providerIssues(provider, options)
  const known = 'issues' in parsed ? soundPart(common, parsed.issues) : parsed.value
  const definition = definitionOf(name, raw, known, {
    name: provider?.name ?? '',
    options: provider === undefined ? {} : ownOptions(provider, options),
  })
  const issues: FiledIssue[] = [
    ...structureIssues(raw),
    ...secretIssues,
    ...('issues' in parsed ? parsed.issues.map((issue) => betterSuggestion(issue, rules)) : []),
    ...missingPowers(known),
    ...keyIssues(known.keys),
    ...(typeof targetEnv === 'string' && provider === undefined ? [unknownProvider(targetEnv, rules)] : []),
    ...wrongOfProvider,
    ...reservedIssues(definition, raw.placed, {
      deployment: rules.deployment,
      tasks: rules.tasks,
      ofProvider: provider === undefined || wrongOfProvider.length > 0 ? [] : placesOf(provider, options),
    }),
  ]
  return { definition: issues.length > 0 ? undefined : definition, issues }
}

/** Returns the options without the wrong ones, so that one error tells the problems of both. */
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
  provider: { readonly name: string; readonly options: Json },
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

function placesOf(provider: KnownProvider, options: Readonly<Record<string, Json>>): ReservedPlace[] {
  const owner = `provider ${provider.name}`
  return (provider.ownedPlaces?.(ownOptions(provider, options)) ?? []).map((place) => ({ ...place, owner }))
}

/** Reports options of other tools that would otherwise be ignored silently. */
function missingPowers(options: DebianOptions): Issue[] {
  return (['buildOnTarget', 'allowLocalDeployment'] as const).flatMap((name) =>
    options[name] ? [{ path: ['deployment', name], say: 'this option is not supported yet' }] : [],
  )
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

function ownOptions(provider: KnownProvider, options: Readonly<Record<string, Json>>): Json {
  return provider.optionKey === undefined ? {} : (options[provider.optionKey] ?? {})
}

function providerIssues(provider: KnownProvider, options: Readonly<Record<string, Json>>): readonly Issue[] {
  const base = provider.optionKey === undefined ? ['deployment'] : ['deployment', provider.optionKey]
  const result = check(provider.configSchema, ownOptions(provider, options), base)
  return 'issues' in result ? result.issues : []
}

function unknownProvider(targetEnv: string, rules: DefinitionRules): Issue {
  const path = ['deployment', 'targetEnv']
  const known = rules.providers.flatMap((each) => each.targetEnvs)
  const near = suggest(targetEnv, known)
  const meant =
    near === undefined ? `the supported values are ${known.join(', ')}` : `did you mean '${near}'?`
  return { path, say: `unknown provider ${JSON.stringify(targetEnv)}; ${meant}` }
}

/** Suggests, for example, `deployment.libvirtd.memorySize` instead of `deployment.memorySize`. */
function betterSuggestion(issue: Issue, rules: DefinitionRules): Issue {
  const [, name, ...deeper] = issue.path
  if (!issue.say.startsWith('unknown option') || deeper.length > 0) return issue
  const elsewhere = rules.providers.flatMap(({ optionKey, configSchema }) =>
    optionKey === undefined
      ? []
      : knownKeys(configSchema, []).map((key) => ({ key, full: `${optionKey}.${key}` })),
  )
  const common = [
    'os',
    ...Object.keys(DebianOptions.shape),
    ...Object.keys(ClosureOptions.shape),
    ...rules.providers.flatMap((each) => each.optionKey ?? []),
  ]
  const near = suggest(String(name), [...common, ...elsewhere.map(({ key }) => key)])
  if (near === undefined) return { ...issue, say: 'unknown option' }
  const full = common.includes(near) ? near : elsewhere.find(({ key }) => key === near)?.full
  return { ...issue, say: `unknown option; did you mean '${full}'?` }
}

function issuesError(name: string, raw: DebianOutput, issues: readonly FiledIssue[], cwd: string): OpsError {
  const lines = issues.map((issue) => {
    const files = issue.files ?? originsOf(issue.path, raw)
    const option = issue.path.length === 0 ? '' : `${optionName(issue.path)}: `
    return `${subject(name, files, cwd)}${option}${shorten(issue.say, cwd)}`
  })
  const hint = issues.find((issue) => issue.hint !== undefined)?.hint
  return usageError(lines.join('\n'), { machine: name, ...(hint === undefined ? {} : { hint }) })
}

/** Finds the files that define an option, its parent, or its children. */
function originsOf(path: readonly (string | number)[], raw: DebianOutput): readonly string[] {
  const isPrefix = (shorter: readonly (string | number)[], longer: readonly (string | number)[]) =>
    shorter.every((part, index) => part === longer[index])
  const holders = raw.origins.filter((origin) => isPrefix(origin.path, path))
  const held = raw.origins.filter((origin) => isPrefix(path, origin.path))
  const files = (holders.length > 0 ? holders : held).flatMap((origin) => origin.files)
  return files.length > 0 ? [...new Set(files)] : raw.files
}

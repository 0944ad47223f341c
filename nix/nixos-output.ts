import * as z from 'zod'
import type { NixosMachine } from '../src/core/definition.js'
import type { OpsError } from '../src/core/errors.js'
import { type Json, jsonSchema } from '../src/core/json.js'
import { type MachineName, StorePath } from '../src/core/names.js'
import { NixosOptions } from '../src/core/nixos-options.js'
import { optionName } from '../src/core/option-name.js'
import { check, type Issue } from './definition-errors.js'
import { isSecret, keyIssues, withModernKeys } from './key-options.js'
import { type FiledIssue, issuesError } from './machine-issues.js'
import {
  effectiveHydra,
  HydraOfNixos,
  hydraIssues,
  provenStoreServer,
  tasksLeftAlone,
} from './nixos-hydra.js'
import { Trap } from './nixos-traps.js'
import { missingPowers } from './peer-options.js'
import { betterSuggestion, commonPart, type DefinitionRules, providerPart } from './provider-part.js'
import { reservedIssues } from './reserved-places.js'

const Files = z.array(z.string())
const Path = z.array(z.union([z.string(), z.number()]))
const Remark = z.object({ file: z.string(), text: z.string() })

/** The result of nixos-machine.nix for one machine. */
export const NixosOutput = z.object({
  os: z.literal('nixos'),
  files: Files,
  /** Options `deployment.*` that the user's files define. */
  deployment: z.record(z.string(), jsonSchema),
  origins: z.array(z.object({ path: Path, files: Files })),
  /** Defined options that only Debian machines have. */
  refused: z.array(z.object({ option: Path, files: Files })),
  /** Warnings of the machine's modules. */
  warnings: z.array(Remark),
  /** Failed assertions of the machine's modules. */
  assertions: z.array(Remark),
  /** The machine's Hydra, if `deployment.hydra` is enabled. */
  hydra: HydraOfNixos.nullable(),
  /** Definitions that evaluate but do not do what their author wants. */
  traps: z.array(Trap),
  closure: z.object({ derivation: StorePath, output: StorePath }).nullable(),
})
export type NixosOutput = z.infer<typeof NixosOutput>

/** Options of Debian machines, with the NixOS options that do the same. */
const insteadOf: Readonly<Record<string, string>> = {
  activate: 'system.activationScripts',
  aptPackages: 'environment.systemPackages',
  aptProxy: 'networking.proxy and nix.settings',
  files: 'environment.etc or systemd.tmpfiles.rules',
  packages: 'environment.systemPackages',
  units: 'systemd.services',
}

/** Names of the options that a NixOS machine declares only to refuse them. */
export const refusedOnNixos: readonly string[] = Object.keys(insteadOf)

/** Reads the definition of a NixOS machine, or lists all its problems. */
export function readNixos(
  name: MachineName,
  raw: NixosOutput,
  rules: DefinitionRules,
): NixosMachine | OpsError {
  const { options, issues: secretIssues } = withModernKeys(withoutNulls(raw.deployment))
  const common = commonPart(withoutKeyPaths(options), rules)
  const parsed = check(NixosOptions, common, ['deployment'], isSecret)
  const provider = providerPart({ ...raw.deployment, ...options }, rules)
  const known = 'issues' in parsed ? soundPart(common, parsed.issues) : parsed.value
  const { closure } = raw
  const storeServer = provenStoreServer(raw.hydra)
  const definition: NixosMachine = {
    os: raw.os,
    name,
    options: { ...known, hydra: effectiveHydra(known.hydra, raw.hydra) },
    leftAlone: tasksLeftAlone(raw.hydra),
    ...(storeServer === undefined ? {} : { storeServer }),
    providerName: provider.name,
    provider: provider.options,
    ...(closure === null ? {} : { drvPath: closure.derivation, outPath: closure.output }),
    origins: Object.fromEntries(raw.origins.map(({ path, files }) => [optionName(path), files])),
  }
  const issues: FiledIssue[] = [
    ...raw.refused.map(refusedIssue),
    ...secretIssues,
    ...('issues' in parsed ? parsed.issues.map((issue) => betterSuggestion(issue, rules)) : []),
    ...missingPowers(known),
    ...keyIssues(known.keys),
    ...hydraIssues(known, raw.hydra),
    ...provider.issues,
    ...reservedIssues(definition, { files: [], units: [] }, { ...rules, ofProvider: provider.places }),
    ...raw.assertions.map(({ file, text }) => ({
      path: [],
      files: [file],
      say: `failed assertion: ${oneLine(text)}`,
    })),
  ]
  return issues.length === 0 ? definition : issuesError(name, raw, issues, rules.cwd)
}

function refusedIssue({ option, files }: NixosOutput['refused'][number]): FiledIssue {
  const instead = insteadOf[String(option[1])]
  return { path: option, files, say: `a NixOS machine does not have this option; use ${instead}` }
}

function soundPart(options: Readonly<Record<string, Json>>, issues: readonly Issue[]): NixosOptions {
  const wrong = new Set(issues.map(({ path }) => String(path[1])))
  const sound = Object.entries(options).filter(([name]) => !wrong.has(name))
  const parsed = NixosOptions.safeParse(Object.fromEntries(sound))
  return parsed.success ? parsed.data : NixosOptions.parse({})
}

/** Removes null values, which belong to options without a value. */
function withoutNulls(value: Readonly<Record<string, Json>>): Record<string, Json> {
  const inner = (each: Json): Json => {
    if (Array.isArray(each)) return each.map(inner)
    return typeof each === 'object' && each !== null ? withoutNulls(each) : each
  }
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, each]) => (each === null ? [] : [[name, inner(each)]])),
  )
}

/** Removes `path` from each key: definitions only read this option. */
function withoutKeyPaths(options: Readonly<Record<string, Json>>): Record<string, Json> {
  const { keys, ...others } = options
  if (typeof keys !== 'object' || keys === null || Array.isArray(keys)) return { ...options }
  const without = Object.entries(keys).map(([name, key]) => {
    if (typeof key !== 'object' || key === null || Array.isArray(key)) return [name, key]
    const { path: _path, ...rest } = key
    return [name, rest]
  })
  return { ...others, keys: Object.fromEntries(without) }
}

/** Joins the lines of a module's text, because an error is a single line. */
export function oneLine(text: string): string {
  return text
    .trim()
    .split(/\s*\n\s*/)
    .join(' ')
}

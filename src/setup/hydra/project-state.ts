import { isDeepStrictEqual } from 'node:util'
import * as z from 'zod'
import type { JobsetInput, JobsetOptions, ProjectOptions } from '../../core/hydra-project-options.js'

/** Hydra's numbers for the states of a jobset. */
const states = { false: 0, true: 1, 'one-shot': 2, 'one-at-a-time': 3 } as const
const off = states.false
const oneShot = states['one-shot']

/** A yes or no, which the API gives as a boolean and the database as a number. */
const flag = z
  .union([z.boolean(), z.number()])
  .nullish()
  .transform((value) => Boolean(value))
const text = z
  .string()
  .nullish()
  .transform((value) => value ?? '')
const count = z
  .number()
  .nullish()
  .transform((value) => value ?? 0)

const Declarative = z.object({ file: z.string(), type: text, value: text })

/** A project as the API shows it, and as the look reads it from the database. */
export const SeenProject = z
  .object({
    name: z.string(),
    displayname: text,
    description: text,
    homepage: text,
    owner: z.string(),
    enabled: flag,
    hidden: flag,
    private: flag,
    enable_dynamic_run_command: flag,
    declarative: Declarative.nullish(),
  })
  .transform((row) => ({
    name: row.name,
    displayName: row.displayname,
    description: row.description,
    homepage: row.homepage,
    owner: row.owner,
    enabled: row.enabled,
    hidden: row.hidden,
    private: row.private,
    dynamicRunCommand: row.enable_dynamic_run_command,
    declarative: row.declarative?.file ? row.declarative : undefined,
  }))
export type SeenProject = z.infer<typeof SeenProject>

/** A jobset as the API shows it, and as the look reads it from the database. */
export const SeenJobset = z
  .object({
    project: z.string(),
    name: z.string(),
    description: text,
    enabled: z.number(),
    visible: z.boolean(),
    type: count,
    flake: text,
    nixexprinput: text,
    nixexprpath: text,
    checkinterval: count,
    schedulingshares: count,
    keepnr: count,
    emailoverride: text,
    enableemail: flag,
    enable_dynamic_run_command: flag,
    inputs: z.record(z.string(), z.object({ type: z.string(), value: text, emailresponsible: flag })),
  })
  .transform((row) => ({
    project: row.project,
    name: row.name,
    description: row.description,
    enabled: row.enabled,
    hidden: !row.visible,
    flake: row.type === 1 ? row.flake : undefined,
    nixExpression: row.type === 1 ? undefined : { input: row.nixexprinput, path: row.nixexprpath },
    checkInterval: row.checkinterval,
    schedulingShares: row.schedulingshares,
    keepEvaluations: row.keepnr,
    emailOverride: row.emailoverride,
    notifyOnError: row.enableemail,
    dynamicRunCommand: row.enable_dynamic_run_command,
    inputs: Object.fromEntries(
      Object.entries(row.inputs).map(([name, { type, value, emailresponsible }]) => [
        name,
        { type, value, emailResponsible: emailresponsible },
      ]),
    ),
  }))
export type SeenJobset = z.infer<typeof SeenJobset>

/** Returns the project after the task: the values of the options, and Hydra's current values for all others. */
export function targetProject(
  name: string,
  options: ProjectOptions,
  seen: SeenProject | undefined,
  owner: string,
): SeenProject {
  const before = seen ?? {
    ...{ name, displayName: name, description: '', homepage: '', owner, enabled: true, hidden: false },
    ...{ private: false, dynamicRunCommand: false, declarative: undefined },
  }
  // Hydra refuses jobsets in a declarative project, so a project with jobsets in the options stops being declarative.
  const kept = Object.keys(options.jobsets).length > 0 ? undefined : before.declarative
  return {
    ...before,
    displayName: options.displayName ?? before.displayName,
    description: options.description ?? before.description,
    homepage: options.homepage ?? before.homepage,
    owner: options.owner ?? before.owner,
    enabled: options.enabled ?? before.enabled,
    hidden: options.hidden ?? before.hidden,
    private: options.private ?? before.private,
    declarative: options.declarative ?? kept,
  }
}

/**
 * Returns the jobset after the task. Hydra itself switches a one-shot jobset off after its evaluation. `fired` says
 * that the task switched on this jobset before, so the jobset stays off.
 */
export function targetJobset(
  { project, name }: { readonly project: string; readonly name: string },
  options: JobsetOptions,
  seen: SeenJobset | undefined,
  fired: boolean,
): SeenJobset {
  const before = seen ?? {
    ...{ project, name, description: '', enabled: states.true, hidden: false, flake: undefined },
    ...{ nixExpression: undefined, checkInterval: 300, schedulingShares: 100, keepEvaluations: 3 },
    ...{ emailOverride: '', notifyOnError: false, dynamicRunCommand: false, inputs: {} },
  }
  const { enabled, flake, nixExpression, inputs } = options
  const wanted = enabled == null ? before.enabled : states[`${enabled}`]
  return {
    ...before,
    description: options.description ?? before.description,
    enabled: wanted === oneShot && fired && before.enabled === off ? off : wanted,
    hidden: options.hidden ?? before.hidden,
    flake: flake ?? undefined,
    nixExpression: nixExpression ?? undefined,
    checkInterval: options.checkInterval ?? before.checkInterval,
    schedulingShares: options.schedulingShares ?? before.schedulingShares,
    keepEvaluations: options.keepEvaluations ?? before.keepEvaluations,
    emailOverride: options.emailOverride ?? before.emailOverride,
    notifyOnError: options.notifyOnError ?? before.notifyOnError,
    inputs: flake != null ? {} : inputs == null ? before.inputs : plainInputs(inputs),
  }
}

function plainInputs(inputs: Readonly<Record<string, JobsetInput>>): SeenJobset['inputs'] {
  return Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, { ...input }]))
}

/** Tells whether the options want only one evaluation. */
export function isOneShot(options: JobsetOptions): boolean {
  return options.enabled === 'one-shot'
}

/** Tells whether the jobset exists and is switched off. */
export function isOff(seen: SeenJobset | undefined): boolean {
  return seen?.enabled === off
}

/** Lists the names of the values that differ. */
export function differences<T extends SeenProject | SeenJobset>(target: T, seen: T): string[] {
  const present = new Map(Object.entries(seen))
  return Object.entries(target).flatMap(([name, value]) =>
    isDeepStrictEqual(value, present.get(name)) ? [] : [name],
  )
}

/** Returns a request value whose presence alone means true (measured), so `false` must be absent. */
function present(name: string, value: boolean): Record<string, true> {
  return value ? { [name]: true } : {}
}

/** Returns the body of the request that gives the project these values. */
export function projectBody(project: SeenProject): Record<string, unknown> {
  const { name, displayName, description, homepage, owner, declarative } = project
  return {
    ...{ name, displayname: displayName, description, homepage, owner },
    ...present('enabled', project.enabled),
    ...present('visible', !project.hidden),
    ...present('private', project.private),
    ...present('enable_dynamic_run_command', project.dynamicRunCommand),
    ...(declarative === undefined ? {} : { declarative }),
  }
}

/** Returns the body of the request that gives the jobset these values. */
export function jobsetBody(jobset: SeenJobset): Record<string, unknown> {
  const { name, description, enabled, flake, nixExpression, inputs } = jobset
  return {
    ...{ name, description, enabled, emailoverride: jobset.emailOverride },
    ...(flake === undefined
      ? { type: 0, nixexprinput: nixExpression?.input, nixexprpath: nixExpression?.path }
      : { type: 1, flake }),
    ...present('visible', !jobset.hidden),
    ...present('enableemail', jobset.notifyOnError),
    ...present('enable_dynamic_run_command', jobset.dynamicRunCommand),
    checkinterval: jobset.checkInterval,
    schedulingshares: jobset.schedulingShares,
    keepnr: jobset.keepEvaluations,
    inputs: Object.fromEntries(
      Object.entries(inputs).map(([input, { type, value, emailResponsible }]) => [
        input,
        { type, value, ...present('emailresponsible', emailResponsible) },
      ]),
    ),
  }
}

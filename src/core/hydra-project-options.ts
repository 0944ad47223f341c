import * as z from 'zod'
import { documented } from './option-docs.js'

/** The Hydra user for hydra-ops's own logins when the administrator's password is not available. */
export const serviceUser = 'hydra_ops'

const oneLine = z.string().regex(/^[^\n\r]*$/, 'text on one line')

/** Hydra trims most texts, so a text with leading or trailing blanks would always differ from the stored text. */
const trimmed = z
  .string()
  .regex(/^(?:[^\s](?:[^\n\r]*[^\s])?)?$/, 'text on one line without blanks at its ends')

/** Names that Hydra's own form allows. Hydra's regular expressions also allow some other names by mistake. */
const name = /^[A-Za-z_][A-Za-z0-9_-]*$/
const projectName = z.string().regex(name, 'a project name: letters, digits, "_" and "-", not first a digit')
const jobsetName = z
  .string()
  .regex(/^[A-Za-z_][A-Za-z0-9._-]*$/, 'a jobset name: letters, digits and "._-", not first a digit')
const inputName = z
  .string()
  .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'an input name: letters, digits, "_" and "-", first a letter')

/** A path that Hydra accepts: relative, and without special characters. */
const relativePath = z
  .string()
  .regex(
    /^[A-Za-z0-9_+.-][A-Za-z0-9_+.@-]*(?:\/[A-Za-z0-9_+.-][A-Za-z0-9_+.@-]*)*$/,
    'a relative path of letters, digits and "_+-.@"',
  )

/** All types of inputs that Hydra's plugins support. Versions of Hydra differ in their plugins. */
export const inputTypes = [
  ...(['path', 'git', 'string', 'boolean', 'nix', 'build', 'sysbuild', 'eval'] as const),
  ...(['hg', 'svn', 'svn-checkout', 'bzr', 'bzr-checkout', 'darcs'] as const),
  ...(['bitbucketpulls', 'githubpulls', 'gitlabpulls', 'github_refs'] as const),
] as const

const JobsetInput = z.strictObject({
  type: documented(z.enum(inputTypes), 'type of the input', 'git'),
  value: documented(
    z.string(),
    'value of the input, in the form of its type: URL and branch for git, a folder for path, `true` or `false` for boolean',
    'https://git.example.org/network.git main',
  ),
  emailResponsible: documented(
    z.boolean().default(false),
    'sends mail about failed builds to the authors of new commits too',
    true,
  ),
})
export type JobsetInput = z.infer<typeof JobsetInput>

const JobsetOptions = z.strictObject({
  enabled: documented(
    z.union([z.boolean(), z.enum(['one-shot', 'one-at-a-time'])]).nullish(),
    'whether Hydra evaluates the jobset; "one-shot" evaluates the jobset once, "one-at-a-time" waits for the builds of the last evaluation',
    'one-at-a-time',
    { shownDefault: "Hydra's current value; true in a new jobset" },
  ),
  hidden: documented(z.boolean().nullish(), 'hides the jobset in the lists of users', true, {
    shownDefault: "Hydra's current value; false in a new jobset",
  }),
  description: documented(trimmed.nullish(), 'description of the jobset', 'all machines', {
    shownDefault: "Hydra's current value",
  }),
  nixExpression: documented(
    z
      .strictObject({
        input: documented(inputName, 'input that holds the expression', 'network'),
        path: documented(relativePath, 'file of the expression in that input', 'hydra/default.nix'),
      })
      .nullish(),
    'expression with the jobs; this option or flake is required',
    { input: 'network', path: 'hydra/default.nix' },
  ),
  flake: documented(
    z
      .string()
      .regex(/^[A-Za-z][^\s]*$/, 'a flake URI, which begins with a letter')
      .nullish(),
    'flake with the jobs (`hydraJobs`), in place of nixExpression',
    'github:example/network',
  ),
  checkInterval: documented(
    z.number().int().min(0).nullish(),
    'seconds between two looks at the inputs; 0 means only on request',
    3600,
    { shownDefault: "Hydra's current value; 300 in a new jobset" },
  ),
  schedulingShares: documented(
    z.number().int().min(1).nullish(),
    'share of the builders, relative to the other jobsets',
    100,
    { shownDefault: "Hydra's current value; 100 in a new jobset" },
  ),
  keepEvaluations: documented(
    z.number().int().min(0).nullish(),
    'number of evaluations whose builds are kept',
    3,
    { shownDefault: "Hydra's current value; 3 in a new jobset" },
  ),
  emailOverride: documented(
    trimmed.nullish(),
    'mail addresses for notifications, in place of those of the maintainers',
    'ops@example.org',
    { shownDefault: "Hydra's current value" },
  ),
  notifyOnError: documented(z.boolean().nullish(), 'sends mail about failed builds', true, {
    shownDefault: "Hydra's current value; false in a new jobset",
  }),
  inputs: documented(
    z.record(inputName, JobsetInput).nullish(),
    'all inputs of the jobset, by name; Hydra loses any other input',
    { network: { type: 'git', value: 'https://git.example.org/network.git main' } },
    { shownDefault: "Hydra's present inputs" },
  ),
})
export type JobsetOptions = z.infer<typeof JobsetOptions>

const ProjectOptions = z.strictObject({
  displayName: documented(trimmed.min(1).nullish(), 'name of the project on pages', 'The fleet', {
    shownDefault: "Hydra's current value; the name in a new project",
  }),
  description: documented(trimmed.nullish(), 'description of the project', 'all machines', {
    shownDefault: "Hydra's current value",
  }),
  homepage: documented(trimmed.nullish(), 'home page of the project', 'https://example.org', {
    shownDefault: "Hydra's current value",
  }),
  owner: documented(oneLine.min(1).nullish(), 'user of Hydra who owns the project', 'alice', {
    shownDefault: "Hydra's current value; admin.userName in a new project",
  }),
  enabled: documented(z.boolean().nullish(), 'whether Hydra evaluates the jobsets of the project', false, {
    shownDefault: "Hydra's current value; true in a new project",
  }),
  hidden: documented(z.boolean().nullish(), 'hides the project on the start page', true, {
    shownDefault: "Hydra's current value; false in a new project",
  }),
  private: documented(
    z.boolean().nullish(),
    'shows the project only to users who are signed in. Few versions of Hydra know private projects',
    true,
    { shownDefault: "Hydra's current value" },
  ),
  declarative: documented(
    z
      .strictObject({
        file: documented(relativePath, 'file that describes the jobsets', 'hydra/spec.json'),
        type: documented(z.enum(inputTypes), 'type of the input that holds the file', 'git'),
        value: documented(trimmed.min(1), 'value of that input', 'https://git.example.org/network.git main'),
      })
      .nullish(),
    'source of the jobsets, which Hydra itself then keeps; excludes jobsets',
    { file: 'hydra/spec.json', type: 'git', value: 'https://git.example.org/network.git main' },
  ),
  jobsets: documented(z.record(jobsetName, JobsetOptions).default({}), 'jobsets of the project, by name', {
    main: { nixExpression: { input: 'network', path: 'hydra/default.nix' } },
  }),
})
export type ProjectOptions = z.infer<typeof ProjectOptions>

export const ProjectsOptions = z.record(projectName, ProjectOptions).nullish()
export type ProjectsOptions = Readonly<Record<string, ProjectOptions>>

/** Name of the project that hydra-ops creates to test the Hydra. */
const proofProject = 'hydra-ops-probe'

/** A fault in an option, with the path below `projects`. */
export interface ProjectFault {
  readonly path: readonly string[]
  readonly say: string
}

/** Lists faults against Hydra's rules that the schema cannot express. `users` lists the user names in the options. */
export function projectFaults(
  projects: ProjectsOptions | null | undefined,
  users: readonly string[],
): ProjectFault[] {
  if (projects == null) return []
  const say = `needs the user '${serviceUser}' for hydra-ops itself; rename the user of the options`
  return [...(users.includes(serviceUser) ? [{ path: [], say }] : []), ...faultsOf(projects)]
}

function faultsOf(projects: ProjectsOptions): ProjectFault[] {
  return Object.entries(projects).flatMap(([project, options]) => {
    const { declarative, jobsets } = options
    const names = Object.keys(jobsets)
    return [
      ...(project === proofProject
        ? [{ path: [project], say: 'is reserved for hydra-ops; choose another name' }]
        : []),
      ...(declarative == null || names.length === 0
        ? []
        : [
            {
              path: [project, 'jobsets'],
              say: 'Hydra refuses changes to the jobsets of a declarative project; remove jobsets, or declarative',
            },
          ]),
      ...Object.entries(jobsets).flatMap(([jobset, each]) =>
        jobsetFaults(each).map(({ path, say }) => ({ path: [project, 'jobsets', jobset, ...path], say })),
      ),
    ]
  })
}

function jobsetFaults(jobset: JobsetOptions): ProjectFault[] {
  const { nixExpression, flake, inputs } = jobset
  const given = Object.entries(inputs ?? {})
  if (nixExpression == null && flake == null) return [{ path: [], say: 'expected nixExpression or flake' }]
  if (nixExpression != null && flake != null)
    return [{ path: ['flake'], say: 'expected only one of nixExpression and flake' }]
  if (flake != null)
    return given.length === 0
      ? []
      : [{ path: ['inputs'], say: 'a jobset with a flake has no inputs; the flake names its own inputs' }]
  const unknown = nixExpression != null && inputs != null && !Object.hasOwn(inputs, nixExpression.input)
  return [
    ...(unknown
      ? [{ path: ['nixExpression', 'input'], say: `'${nixExpression.input}' is not an input of the jobset` }]
      : []),
    ...given.flatMap(([input, { type, value }]) => {
      const wrong = valueFault(type, value)
      return wrong === undefined ? [] : [{ path: ['inputs', input, 'value'], say: wrong }]
    }),
  ]
}

const evaluation = /^(?:\d+|[A-Za-z_][\w-]*:[A-Za-z_][\w.-]*(?::[\w.-]+)?)$/

/** Returns the fault in an input's value, by Hydra's rules for the type of the input. */
function valueFault(type: JobsetInput['type'], value: string): string | undefined {
  if (type === 'string') return undefined
  if (value.trim() !== value) return 'has blanks at the ends, which Hydra drops'
  if (type === 'boolean')
    return value === 'true' || value === 'false' ? undefined : `expected "true" or "false", got "${value}"`
  if (type === 'eval')
    return evaluation.test(value)
      ? undefined
      : 'expected the number of an evaluation, PROJECT:JOBSET or PROJECT:JOBSET:JOB'
  return value === '' ? 'expected a value' : undefined
}

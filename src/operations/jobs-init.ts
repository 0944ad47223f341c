import { mkdir, rm } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import type { Ops } from '../core/context.js'
import type { NetworkDefinition } from '../core/definition.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { replaceFile } from '../core/durable-file.js'
import { usageError } from '../core/errors.js'
import { fsFailure } from '../core/file-failure.js'
import type { NixFlags } from '../core/nix.js'
import type { DeploymentSession } from '../core/session.js'
import { dryRunSession } from '../machine/session.js'
import { evaluateNames } from '../network/evaluate.js'
import { checkoutAt, refuseSecret } from '../network/jobs/git.js'
import { checkoutOfAll, compareJobs, isWithin, settingsFile, textOf } from '../network/jobs/repository.js'
import { secretsInGit } from '../network/jobs/secrets.js'
import { inputsIn, presentInputs, renderSpec, type SpecInput } from '../network/jobs/spec.js'
import { jobsData, machinesOf, refuseNames, wantedFiles } from '../network/jobs/wanted.js'
import { jobsFolder } from '../network/jobs/written-by.js'

export interface JobsInit {
  readonly deployment: string | undefined
  /** Folder of the network as the user wrote it, relative to `cwd`; undefined means the repository's root. */
  readonly folder: string | undefined
  readonly cwd: string
  /** `URL BRANCH` from which Hydra fetches the repository; undefined means the remote `origin`. */
  readonly repository: string | undefined
  /** `URL BRANCH` of nixpkgs. */
  readonly nixpkgs: string | undefined
  readonly nix: NixFlags
}

export interface JobsInitialised {
  /** Absolute path of the folder with the files. */
  readonly folder: string
  /** Paths of changed files below the folder. */
  readonly written: readonly string[]
  readonly removed: readonly string[]
  /** Whether deploys evaluate the network from git, too. */
  readonly fromGit: boolean
  /** Whether this command made deploys evaluate the network from git. */
  readonly changedFromGit: boolean
  /** Warnings about secret files that git tracks; the Nix store shows their contents to every user. */
  readonly secretsInGit: readonly string[]
  /** Values that no flag set: the remote `origin` with its branch, and a default nixpkgs. */
  readonly chosenInputs: Readonly<Record<string, string>>
  /** Inputs that the jobsets need and that hydra-ops cannot choose. */
  readonly missingInputs: readonly string[]
}

const defaultNixpkgs = 'https://github.com/NixOS/nixpkgs.git nixos-unstable'

/** Writes the files that a Hydra's jobsets need into a network's repository; writes only files that differ. */
export async function initJobs(ops: Ops, request: JobsInit): Promise<JobsInitialised> {
  const known = await ops.store.resolve(request.deployment)
  const { root, folder } = placeOf(known, request)
  const session = dryRunSession(ops.files, known)
  const run = { signal: ops.signal, log: () => {} }
  const network = await evaluateNames(ops, session, { args: {}, searchPath: [], nix: request.nix }, run)
  const names = machinesOf(network)
  refuseNames(names)
  const data = jobsData(ops, session.record, network)
  refuseOther(folder, data.deployment.uuid)
  const wanted = wantedFiles(ops, folder, session.record, data, names)
  const first = compareJobs(folder, wanted)
  const gone = first.remove.flatMap((path) => /^([^/]+)\.nix$/.exec(path)?.[1] ?? [])
  const existing = textOf(folder, 'spec.json')
  const shown = join(jobsFolder, 'spec.json')
  const place = relative(root, folder)
  const present = presentInputs(existing, place, shown)
  const replaced = explicitInputs(request)
  const chosen = await chosenInputs(ops, root, { given: { ...present, ...replaced }, record: known, network })
  wanted.set(
    'spec.json',
    renderSpec(
      {
        ...{ machines: names, gone, folder: place, replaced },
        inputs: { ...chosen, ...replaced },
        jobsets: network.form?.layout === 'morph' ? 'each' : 'one',
        jobset: network.hydra?.jobset ?? 'main',
      },
      existing,
      shown,
    ),
  )
  const { write, remove, foreign } = compareJobs(folder, wanted)
  if (foreign.length > 0) throw inTheWay(foreign)
  // Two commands at once would otherwise mix their files.
  await ops.store.lock(known.uuid, async (held) => {
    if (known.fromGit === undefined) await evaluateFromGit(held)
    const settingsFirst = [...write].sort(
      ([a], [b]) => Number(b === settingsFile) - Number(a === settingsFile),
    )
    for (const [path, text] of settingsFirst) await putFile(join(folder, path), text)
    for (const path of remove) await rm(join(folder, path), { force: true })
  })
  const given = new Set([...inputsIn(wanted.get('spec.json'), shown)])
  return {
    folder,
    written: [...write.keys()].sort(),
    removed: [...remove].sort(),
    fromGit: known.fromGit ?? true,
    changedFromGit: known.fromGit === undefined,
    secretsInGit: await secretsInGit(ops, root, network),
    chosenInputs: write.has('spec.json')
      ? Object.fromEntries(Object.entries(chosen).map(([name, { value }]) => [name, value]))
      : {},
    missingInputs: neededInputs(known).filter((name) => !given.has(name)),
  }
}

/** Writes a file of the user's repository; git keeps the previous content. */
async function putFile(file: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(file), { recursive: true })
  } catch (error) {
    throw fsFailure(error, 'create the folder of', file)
  }
  await replaceFile(file, text, { mode: 0o644 })
}

/** Makes deploys evaluate the source that git tracks, as Hydra does. */
async function evaluateFromGit(held: DeploymentSession): Promise<void> {
  await held.updateDeployment((draft) => Object.assign(draft, { fromGit: true }))
  await held.journal({ event: 'jobs.init', result: 'done' })
}

/** Returns the root of the checkout, and the folder for the files. */
function placeOf(
  { expressions }: DeploymentRecord,
  { folder: given, cwd }: JobsInit,
): { readonly root: string; readonly folder: string } {
  const root = checkoutOfAll(expressions)
  const base = given === undefined ? root : resolve(cwd, given)
  if (!isWithin(root, base))
    throw usageError(`${base} is not in the repository of the network, ${root}`, {
      hint: 'give a folder of that repository, or none',
    })
  const outside = expressions.find((file) => !isWithin(base, file))
  if (outside !== undefined)
    throw usageError(`the network expression ${outside} is not in ${base}`, {
      hint: 'name a folder above the files of the network, or move these files into the folder',
    })
  return { root, folder: join(base, jobsFolder) }
}

/** Refuses a folder with the files of another deployment. */
function refuseOther(folder: string, uuid: string): void {
  const text = textOf(folder, 'machines.json')
  const other = text === undefined ? undefined : /"uuid": "([0-9a-f-]{36})"/.exec(text)?.[1]
  if (other === undefined || other === uuid) return
  throw usageError(`${join(folder, 'machines.json')} belongs to another deployment (${other})`, {
    hint: 'each network needs a folder of its own: move the files of this network there with git mv; give the deployment the new paths with hydra-ops modify; run hydra-ops hydra jobs init DIR',
  })
}

/** Returns the inputs that the flags name. */
function explicitInputs({ repository, nixpkgs }: JobsInit): Record<string, SpecInput> {
  const named = { network: repository, nixpkgs }
  return Object.fromEntries(
    Object.entries(named).flatMap(([name, value]) => {
      if (value === undefined) return []
      refuseSecret(name, value)
      return [[name, { type: 'git', value }]]
    }),
  )
}

interface InputsRequest {
  /** The inputs that have a value already. */
  readonly given: Readonly<Record<string, unknown>>
  readonly record: DeploymentRecord
  readonly network: NetworkDefinition
}

/** Chooses the inputs that neither a flag nor an existing jobset names. */
async function chosenInputs(
  ops: Ops,
  root: string,
  { given, record, network }: InputsRequest,
): Promise<Record<string, SpecInput>> {
  const chosen: Record<string, SpecInput> = {}
  if (given.network === undefined) {
    const value = await checkoutAt(ops.local, root, ops.signal).origin()
    if (value === undefined)
      throw usageError(`the repository ${root} has no remote 'origin' from which Hydra could fetch it`, {
        hint: 'give its address: --repository "URL BRANCH"',
      })
    chosen.network = { type: 'git', value }
  }
  if (given.nixpkgs === undefined && needsNixpkgs(record, network))
    chosen.nixpkgs = { type: 'git', value: defaultNixpkgs }
  return chosen
}

function needsNixpkgs({ searchPath }: DeploymentRecord, { form, machines }: NetworkDefinition): boolean {
  return (
    form?.namesNixpkgs === true ||
    [...machines.values()].some(({ os }) => os === 'nixos') ||
    searchPath.some((entry) => entry.startsWith('nixpkgs='))
  )
}

/**
 * Returns the inputs whose values only the user knows. Arguments may be secret, and a search path belongs to this
 * host.
 */
function neededInputs({ args, searchPath }: DeploymentRecord): string[] {
  const entries = searchPath.flatMap((entry) => /^([^=]+)=/.exec(entry)?.[1] ?? [])
  return [...new Set([...Object.keys(args), ...entries])].sort()
}

function inTheWay(foreign: readonly string[]): Error {
  const files = foreign.map((path) => join(jobsFolder, path)).sort()
  return usageError(
    `${files.join(', ')} ${files.length === 1 ? 'was' : 'were'} not written by hydra-ops; nothing was changed`,
    { hint: 'move these files away, or name another folder: hydra-ops hydra jobs init DIR' },
  )
}

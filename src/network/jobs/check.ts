import { join, relative } from 'node:path'
import * as z from 'zod'
import type { Ops } from '../../core/context.js'
import type { NetworkDefinition } from '../../core/definition.js'
import type { DeploymentRecord } from '../../core/deployment.js'
import { sameJson } from '../../core/json.js'
import { renderData } from './files.js'
import { checkoutAt } from './git.js'
import { checkoutOfAll, compareJobs, findJobs, textOf } from './repository.js'
import { secretsInGit } from './secrets.js'
import { jobsData, machinesOf, wantedFiles } from './wanted.js'

const refresh = 'hydra-ops hydra jobs init refreshes it'

const Data = z.object({
  deployment: z.object({ name: z.string(), uuid: z.string() }),
  system: z.string(),
  arguments: z.array(z.string()),
  machines: z.record(z.string(), z.record(z.string(), z.json())),
})

/** Describes reasons why a Hydra builds derivations other than those of a deploy. */
export async function jobsNotices(
  ops: Ops,
  record: DeploymentRecord,
  network: NetworkDefinition,
): Promise<string[]> {
  return [
    ...(await uncommitted(ops, record)),
    ...(await storedSecrets(ops, record, network)),
    ...staleFiles(ops, record, network),
  ]
}

async function storedSecrets(
  ops: Ops,
  { fromGit, expressions }: DeploymentRecord,
  network: NetworkDefinition,
): Promise<string[]> {
  return fromGit === true ? secretsInGit(ops, checkoutOfAll(expressions), network) : []
}

async function uncommitted(ops: Ops, { fromGit, expressions }: DeploymentRecord): Promise<string[]> {
  if (fromGit !== true) return []
  const root = checkoutOfAll(expressions)
  const git = checkoutAt(ops.local, root, ops.signal)
  const [first] = expressions
  const folder = first === undefined ? undefined : findJobs(first)
  const changed = await git.uncommitted()
  const unpushed = await git.unpushed()
  const untracked = folder === undefined ? 0 : await git.untracked(relative(root, folder))
  return [
    ...(changed === 0
      ? []
      : [
          `${root} has ${count(changed, 'file')} with uncommitted changes; Hydra builds the last commit. Run git commit`,
        ]),
    ...(unpushed === 0
      ? []
      : [
          `${root} has ${count(unpushed, 'unpushed commit')}; Hydra builds only pushed commits. Run git push`,
        ]),
    ...(untracked === 0
      ? []
      : [`git does not track ${count(untracked, 'file')} of ${folder}, so Hydra lacks them. Run git add`]),
  ]
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

function staleFiles(ops: Ops, record: DeploymentRecord, network: NetworkDefinition): string[] {
  const [first] = record.expressions
  const folder = first === undefined ? undefined : findJobs(first)
  if (folder === undefined) return []
  const file = join(folder, 'machines.json')
  const data = parse(textOf(folder, 'machines.json'))
  if (data === undefined) return [`${file} is damaged; ${refresh}`]
  if (data.deployment.uuid !== record.uuid) return []
  const facts = jobsData(ops, record, network)
  const wanted = parse(renderData(facts))
  const changes = wanted === undefined ? [] : differences(data, wanted)
  const names = machinesOf(network)
  const differing = [
    ...compareJobs(folder, wantedFiles(ops, folder, record, facts, names)).write.keys(),
  ].filter((path) => path !== 'machines.json')
  return [
    ...(changes.length === 0 ? [] : [`${file} is older than the state: ${changes.join('; ')}; ${refresh}`]),
    ...differing.filter((path) => !path.includes('/')).map((path) => staleFile(folder, path)),
    ...(differing.some((path) => path.includes('/'))
      ? [`${join(folder, 'hydra-ops')} was written by another version of hydra-ops; ${refresh}`]
      : []),
  ]
}

/** Describes what is wrong with default.nix or with a machine's file. */
function staleFile(folder: string, path: string): string {
  const file = join(folder, path)
  if (textOf(folder, path) === undefined)
    return path === 'default.nix'
      ? `${file} is missing; ${refresh}`
      : `${folder} has no file for machine '${path.slice(0, -'.nix'.length)}'; ${refresh}`
  return path === 'default.nix'
    ? `${file} evaluates files other than those of this deployment; ${refresh}`
    : `${file} is not the file of this version of hydra-ops; ${refresh}`
}

type Data = z.infer<typeof Data>

function parse(text: string | undefined): Data | undefined {
  try {
    return Data.parse(JSON.parse(text ?? ''))
  } catch {
    return undefined
  }
}

/** Names the changes since the file was written. */
function differences(written: Data, wanted: Data): string[] {
  const names = [...new Set([...Object.keys(written.machines), ...Object.keys(wanted.machines)])].sort()
  const { name, uuid } = wanted.deployment
  const changed = [
    ...(sameJson(written.deployment, { name, uuid }) ? [] : ['deployment']),
    ...(written.system === wanted.system ? [] : ['system']),
    ...(sameJson(written.arguments, wanted.arguments) ? [] : ['arguments']),
  ]
  return [
    ...changed.map((part) => `its ${part} differs`),
    ...names.flatMap((machine) => changeOf(machine, written.machines[machine], wanted.machines[machine])),
  ]
}

type Facts = Data['machines'][string] | undefined

function changeOf(machine: string, before: Facts, after: Facts): string[] {
  if (before === undefined) return [`machine '${machine}' is missing`]
  if (after === undefined) return [`machine '${machine}' is gone`]
  const facts = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort()
  const differing = facts.filter((fact) => !sameJson(before[fact] ?? null, after[fact] ?? null))
  return differing.length === 0 ? [] : [`machine '${machine}' differs (${differing.join(', ')})`]
}

import { relative } from 'node:path'
import { nixString } from '../../core/nix-string.js'
import { writtenBy } from './written-by.js'

/** The facts of a state that the systems of the machines depend on; none of them is secret. */
export interface JobsData {
  readonly deployment: { readonly name: string; readonly uuid: string }
  readonly system: string
  /** Names of the network's arguments; their values may be secret. */
  readonly arguments: readonly string[]
  /** The allocated facts of each machine. */
  readonly machines: Readonly<Record<string, object>>
}

/** Renders machines.json. Names have a fixed order, so the file changes only when a fact changes. */
export function renderData({ deployment, system, arguments: args, machines }: JobsData): string {
  const { name, uuid } = deployment
  const data = {
    about: `${writtenBy} It holds addresses, public host keys and users of builders, and no secret.`,
    deployment: { name, uuid },
    system,
    arguments: [...args].sort(),
    machines: sorted(machines),
  }
  return `${JSON.stringify(data, undefined, 2)}\n`
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined)
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, inner]) => [name, sorted(inner)]),
  )
}

/** Renders hydra/default.nix; the paths of `folder` and of the network files are absolute. */
export function renderJobs(folder: string, files: readonly string[]): string {
  return [
    `# ${writtenBy}`,
    '# Each machine of the network is a job by its name. The job `release` succeeds when all machines are built.',
    '{ machine ? null, ... }@inputs:',
    'import ./hydra-ops/nix/jobs.nix {',
    '  inherit inputs machine;',
    '  folder = ./.;',
    `  files = [ ${files.map((file) => nixPath(relative(folder, file))).join(' ')} ];`,
    '}',
    '',
  ].join('\n')
}

/** Renders hydra/MACHINE.nix. */
export function renderMachine(name: string): string {
  return [
    `# ${writtenBy}`,
    `# The jobs of a jobset for one machine: the machine, and \`release\`.`,
    `{ ... }@inputs: import ./default.nix (inputs // { machine = ${nixString(name)}; })`,
    '',
  ].join('\n')
}

/**
 * Returns a relative path as Nix text. A path literal allows few characters; another path is appended to `./.`, where
 * Nix resolves `..`.
 */
function nixPath(path: string): string {
  const dotted = path.startsWith('..') ? path : `./${path}`
  return /^[A-Za-z0-9._+/-]+$/.test(dotted) ? dotted : `(./. + ${nixString(`/${path}`)})`
}

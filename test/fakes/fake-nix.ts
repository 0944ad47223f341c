import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { createRoots } from '../../nix/roots.js'
import type { NetworkDefinition } from '../../src/core/definition.js'
import { failure } from '../../src/core/errors.js'
import type { MachineName, StorePath } from '../../src/core/names.js'
import type { EvaluationRequest, FetchProblem, Nix } from '../../src/core/nix.js'
import { restEvery } from '../../src/core/rest.js'

/** A stand-in for Nix: each evaluation returns a given network, and a folder keeps the paths of each machine. */
export interface FakeNix extends Nix {
  /** The result of an evaluation; a test may replace it between two deploys. */
  network: NetworkDefinition
  readonly evaluations: EvaluationRequest[]
  readonly builds: MachineName[]
  readonly copies: { readonly machine: MachineName; readonly path: StorePath }[]
  readonly roots: { readonly folder: string; readonly name: string; readonly path: StorePath }[]
  readonly repairs: { readonly machine: MachineName; readonly path: StorePath }[]
  /** The closures that were verified without a copy. */
  readonly verified: { readonly machine: MachineName; readonly path: StorePath }[]
  /** The errors of machines whose definitions are invalid. */
  readonly invalid: Map<MachineName, Error>
  /** The machines whose build fails. */
  readonly brokenBuilds: Set<string>
  /** The machines to which a copy fails. */
  readonly brokenCopies: Set<string>
  /** The result of each fetch, by machine or `operator`; a missing entry means that no cache has the path. */
  readonly caches: Map<string, 'ok' | FetchProblem>
  /** The fetches that succeeded, by machine or `operator`. */
  readonly fetches: { readonly where: string; readonly path: StorePath; readonly allowUnsigned: boolean }[]
  /** The contents of store paths, as folders of this host. */
  readonly folders: Map<string, string>
}

const absent: FetchProblem = { kind: 'absent', detail: `error: don't know how to build these paths` }
const succeeded = { kind: 'exited', code: 0, stdout: '', stderr: '', truncated: false } as const

export function createFakeNix(network: NetworkDefinition, folder: string): FakeNix {
  const mark = (place: string, path: StorePath) => join(folder, place, basename(path))
  const add = (place: string, path: StorePath) => {
    const file = mark(place, path)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, '')
  }
  const roots = createRoots(
    {
      store: async () => {
        throw new Error('a root needs no look at the store')
      },
      run: async (_, [verb, path = '', , link = '']) => {
        if (verb === '--realise') symlinkSync(path, link)
        return succeeded
      },
    },
    { invalid: async () => [] },
  )
  const nix: FakeNix = {
    network,
    evaluations: [],
    builds: [],
    copies: [],
    roots: [],
    repairs: [],
    verified: [],
    invalid: new Map(),
    brokenBuilds: new Set(),
    brokenCopies: new Set(),
    folders: new Map(),
    caches: new Map(),
    fetches: [],
    nixosImages: async () => new Map(),
    registration: async () => '',
    showOption: async () => ({ names: [], shown: new Map() }),
    describeStore: async () => ({ remote: 'fake', why: 'a test' }),
    version: async () => '2.8.1',
    settings: async () => new Map(),
    evaluate: async (request) => {
      nix.evaluations.push(request)
      return withClosures(withoutInvalid(nix, request), request)
    },
    build: async (derivations) => {
      const results = new Map<MachineName, { out: StorePath } | { error: Error }>()
      // The real Nix is a separate process, which does not block this process's timers and sockets.
      const rest = restEvery(5)
      for (const machine of derivations.keys()) {
        await rest()
        nix.builds.push(machine)
        const out = nix.network.machines.get(machine)?.outPath
        const broken = nix.brokenBuilds.has(machine) || out === undefined
        if (!broken) add('operator', out)
        results.set(
          machine,
          broken
            ? {
                error: failure('BUILD', `machine '${machine}' does not build`, {
                  detail: 'cc: no space left',
                }),
              }
            : { out },
        )
      }
      return results
    },
    isBuilt: async (path) => existsSync(mark('operator', path)),
    folderOf: async (path) => (existsSync(mark('operator', path)) ? nix.folders.get(path) : undefined),
    closure: async (path) => ({ paths: [path], sizes: new Map([[path, 1_000_000]]) }),
    missingOn: async (host, paths) => paths.filter((path) => !existsSync(mark(`on-${host.machine}`, path))),
    copy: async (host, path) => {
      nix.copies.push({ machine: host.machine, path })
      if (nix.brokenCopies.has(host.machine))
        throw failure('COPY', `machine '${host.machine}': the copy failed`)
      add(`on-${host.machine}`, path)
    },
    copyMethod: () => 'pretending',
    fetchable: async (host, path) => {
      if (existsSync(mark(host === undefined ? 'operator' : `on-${host.machine}`, path)))
        return { kind: 'valid' }
      const answer = nix.caches.get(host?.machine ?? 'operator') ?? absent
      // Nix checks signatures only when it fetches.
      return answer === 'ok' || answer.kind === 'unsigned'
        ? { kind: 'fetchable', paths: 3, bytes: 3_000_000 }
        : { kind: 'absent', problem: answer }
    },
    fetch: async (host, path, { allowUnsigned }) => {
      const where = host?.machine ?? 'operator'
      const answer = nix.caches.get(where) ?? absent
      if (answer !== 'ok' && !(answer.kind === 'unsigned' && allowUnsigned)) return answer
      nix.fetches.push({ where, path, allowUnsigned })
      add(host === undefined ? 'operator' : `on-${where}`, path)
      return undefined
    },
    repair: async (host, path) => {
      nix.repairs.push({ machine: host.machine, path })
      return []
    },
    removeBroken: async (host, path) => {
      nix.verified.push({ machine: host.machine, path })
      return []
    },
    root: async (rootFolder, name, path, run) => {
      nix.roots.push({ folder: rootFolder, name, path })
      await roots.root(rootFolder, name, path, run)
    },
    forgetRoots: roots.forgetRoots,
  }
  return nix
}

/** Returns the network without invalid machines. Throws if an invalid machine is required, as the real Nix does. */
function withoutInvalid(nix: FakeNix, request: EvaluationRequest): NetworkDefinition {
  const required = request.required ?? request.only
  for (const [name, error] of nix.invalid) {
    if (required === undefined || required.includes(name)) throw error
  }
  const machines = new Map([...nix.network.machines].filter(([name]) => !nix.invalid.has(name)))
  return { ...nix.network, machines, failed: new Map(nix.invalid) }
}

/**
 * Removes closures that the evaluation does not compute. A cheap evaluation has none; an evaluation of some machines
 * has only their closures.
 */
function withClosures(network: NetworkDefinition, { mode, only }: EvaluationRequest): NetworkDefinition {
  const machines = [...network.machines].map(([name, machine]) => {
    if (mode !== 'shape' && mode !== 'tasks' && (only === undefined || only.includes(name)))
      return [name, machine] as const
    const { drvPath: _, outPath: __, ...shape } = machine
    return [name, shape] as const
  })
  return { ...network, machines: new Map(machines) }
}

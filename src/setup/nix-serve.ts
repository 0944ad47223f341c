import { requireSuccess } from '../core/command-result.js'
import { ownedService } from '../core/owned-places.js'
import type { SetupTask, TaskRun, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { convergeServices, lookAtServices } from '../remote/services.js'
import { portPackages, refuseTakenPort } from '../remote/taken-port.js'
import { hydraSettings, noPackage } from './hydra/settings.js'
import {
  cacheServices,
  findCacheProgram,
  harmoniaFile,
  holdFile,
  holdsStore,
  holdUnit,
  listensAt,
  requireCacheProgram,
  serveUnit,
} from './nix-serve-program.js'
import { proveStoreServer } from './nix-serve-proof.js'

export interface NixServeOptions {
  /** Store path of the package. */
  readonly package: string | undefined
  readonly address: string
  readonly port: number
  readonly secretKeyFile: string
  readonly publicKeyFile: string
}

const requestMs = 30_000

/** The machine's whole store as a binary cache that signs its answers. */
export const nixServeTask: SetupTask<NixServeOptions> = {
  id: 'nix-serve',
  title: 'nix-serve',
  after: ['nix', 'cache-key'],
  stage: 'configure',
  debianPackages: () => portPackages,
  wanted(machine) {
    const settings = hydraSettings(machine)
    if (settings === undefined || !settings.options.nixServe.enable) return undefined
    const { nixServe } = settings.options
    return {
      package: nixServe.package ?? undefined,
      address: nixServe.bindAddress,
      port: nixServe.port,
      secretKeyFile: settings.secretKeyFile,
      publicKeyFile: settings.publicKeyFile,
    }
  },
  owns: () => [
    ...[serveUnit, holdUnit].flatMap(ownedService),
    ...[harmoniaFile, holdFile].map((path) => ({
      path,
      instead: 'the options of deployment.hydra.nixServe',
    })),
  ],
  async probe(host, options, run): Promise<TaskState> {
    const { package: path } = options
    // The apply step, not the probe, reports a missing package.
    if (path === undefined) return 'needed'
    const program = (await findCacheProgram(host, path, run)) ?? { kind: 'nix-serve' }
    const set = cacheServices({ ...options, package: path }, program)
    const { absent, wrong } = await lookAtServices(host, set, run)
    if (absent) return 'needed'
    return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
  },
  async apply(host, options, run) {
    const { package: path } = options
    if (path === undefined) throw noPackage(host, 'nix-serve', 'nixServe.package')
    const program = await requireCacheProgram(host, path, run)
    const hint = 'stop that program, or set deployment.hydra.nixServe.port to another port'
    await refuseTakenPort(host, { port: options.port, unit: serveUnit, hint }, run)
    await convergeServices(host, cacheServices({ ...options, package: path }, program), run)
    return { listens: listensAt(options) }
  },
  verify: verifyNixServe,
}

/** Proves nix-serve and, for harmonia, the unit that holds the store open. */
async function verifyNixServe(host: Host, options: NixServeOptions, run: TaskRun): Promise<void> {
  if (options.package === undefined) throw noPackage(host, 'nix-serve', 'nixServe.package')
  const program = await requireCacheProgram(host, options.package, run)
  const units = holdsStore(program) ? [serveUnit, holdUnit] : [serveUnit]
  const what = 'read the public key'
  const read = await host.exec(['cat', '--', options.publicKeyFile], {
    signal: run.signal,
    timeoutMs: requestMs,
    what,
  })
  const publicKey = requireSuccess(read, { machine: host.machine, what }).stdout.trim()
  await proveStoreServer(host, { ...options, kind: program.kind, publicKey, units }, run)
}

import { requireSuccess } from '../core/command-result.js'
import { httpAnswer } from '../core/http-request.js'
import { ownedService } from '../core/owned-places.js'
import type { SetupTask, TaskRun, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from '../remote/run-script.js'
import { convergeServices, lookAtServices, unsteadyUnits } from '../remote/services.js'
import { portPackages, refuseTakenPort } from '../remote/taken-port.js'
import { waitUntil } from '../remote/wait-until.js'
import { hydraSettings, noPackage, reachedAt } from './hydra/settings.js'
import { machineTime, newestLines } from './journal.js'
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
import { hashPart, servedProblem } from './served-path.js'

export interface NixServeOptions {
  /** Store path of the package. */
  readonly package: string | undefined
  readonly address: string
  readonly port: number
  readonly secretKeyFile: string
  readonly publicKeyFile: string
}

const answerMs = 120_000
const requestMs = 30_000

/** Number of consecutive empty NARs after which the task gives up. */
const emptyAnswers = 3

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

/** Tests nix-serve with a small store path: its signature and its NAR. `GET /` returns 404 (measured). */
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
  const get = (path: string) =>
    httpAnswer({
      url: `http://127.0.0.1:${options.port}${path}`,
      checkCertificate: false,
      connect: (bounds) => run.connect(options.port, bounds, reachedAt(options.address)),
      signal: run.signal,
      timeoutMs: requestMs,
    })
  const since = await machineTime(host, run)
  let empty = 0
  await waitUntil(host.machine, run, {
    what: 'nix-serve serves a signed path and its NAR',
    deadlineMs: answerMs,
    hint: `journalctl ${units.map((unit) => `-u ${unit}`).join(' ')} on the machine shows more`,
    evidence: () => newestLines(host, units, since, run),
    // The signed narinfo shows that nix-serve runs, so an empty NAR means that the program behind it fails.
    hopeless: async () =>
      empty < emptyAnswers
        ? undefined
        : `${program.kind === 'nix-serve' ? '`nix dump-path`' : program.kind} fails on the machine; the journal below shows the cause`,
    wrong: async () => {
      const info = await get('/nix-cache-info')
      if (info.status !== 200) return `/nix-cache-info answers with status ${info.status}`
      // The package of nix-serve itself may have hundreds of MiB, so the test uses a small path.
      const question = { what: 'put a small file into the Nix store', script: 'tasks/nix-serve/small-path' }
      const hash = hashPart(fact(await askMachine(host, question, run), 'path'))
      const problem = await servedProblem(host, { hash, folder: '/', publicKey, get }, run)
      empty = problem?.emptyNar === true ? empty + 1 : 0
      if (problem !== undefined) return problem.text
      const [unsteady] = await unsteadyUnits(host, units, run)
      return unsteady
    },
  })
}

import type { StoreServer } from '../core/definition.js'
import { failure } from '../core/errors.js'
import { httpAnswer } from '../core/http-request.js'
import type { SetupTask, TaskRun } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from '../remote/run-script.js'
import { requireUnit, unsteadyUnits } from '../remote/services.js'
import { waitUntil } from '../remote/wait-until.js'
import { publicKeyOf } from './cache-key.js'
import { oneShotSettings, reachedAt } from './hydra/settings.js'
import { machineTime, newestLines } from './journal.js'
import { hashPart, servedProblem } from './served-path.js'

export interface NixServeProofOptions extends StoreServer {
  readonly secretKeyFile: string
  readonly publicKeyFile: string
}

/** Facts about a server of the store that its proof needs. */
export interface ProvenServer {
  /** Program: `nix-serve`, `nix-serve-ng` or `harmonia`. */
  readonly kind: string
  readonly address: string
  readonly port: number
  /** Public key of the signatures, as `NAME:BASE64`. */
  readonly publicKey: string
  /** Units that must stay up. */
  readonly units: readonly string[]
}

const answerMs = 120_000
const requestMs = 30_000

/** Number of consecutive empty NARs after which the proof fails. */
const emptyAnswers = 3

/**
 * The proof of the server that NixOS starts. The server waits for the key of a set-up task, so the look after the
 * switch comes too early to judge the server.
 */
export const nixServeProofTask: SetupTask<NixServeProofOptions> = {
  id: 'nix-serve-proof',
  title: 'a proof that nix-serve serves the store',
  after: ['cache-key'],
  stage: 'configure',
  debianPackages: () => [],
  wanted(machine) {
    const { definition } = machine
    if (definition.os !== 'nixos' || definition.storeServer === undefined) return undefined
    const settings = oneShotSettings(machine, 'nix-serve-proof')
    if (settings === undefined) return undefined
    const { secretKeyFile, publicKeyFile } = settings
    return { ...definition.storeServer, secretKeyFile, publicKeyFile }
  },
  owns: () => [],
  async probe(host, { unit }, run) {
    const [wrong] = await unsteadyUnits(host, [unit], run)
    return wrong === undefined ? 'done' : { drifted: wrong }
  },
  async apply(host, options, run) {
    await proveService(host, options, run)
    return {}
  },
  verify: proveService,
}

async function proveService(host: Host, options: NixServeProofOptions, run: TaskRun): Promise<void> {
  const { unit, secretKeyFile, publicKeyFile } = options
  await requireUnit(host, unit, run)
  // A user-defined service may create only the secret key.
  const publicKey = await publicKeyOf(host, { secretFile: secretKeyFile, publicFile: publicKeyFile }, run)
  if (publicKey === '') {
    throw failure('CACHE_KEY', `machine '${host.machine}': ${secretKeyFile} is not a Nix signing key`, {
      machine: host.machine,
      hint: `${unit} starts once the file holds a valid key; journalctl -u ${unit} on the machine shows more`,
    })
  }
  await proveStoreServer(
    host,
    { ...options, kind: unit.replace(/\.service$/, ''), publicKey, units: [unit] },
    run,
  )
}

/** Tests a server with a small store path: its signature and its NAR. `GET /` returns 404 (measured). */
export async function proveStoreServer(host: Host, server: ProvenServer, run: TaskRun): Promise<void> {
  const { kind, address, port, publicKey, units } = server
  const get = (path: string) =>
    httpAnswer({
      url: `http://127.0.0.1:${port}${path}`,
      checkCertificate: false,
      connect: (bounds) => run.connect(port, bounds, reachedAt(address)),
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
        : `${kind === 'nix-serve' ? '`nix dump-path`' : kind} fails on the machine; the journal below shows the cause`,
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

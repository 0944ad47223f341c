import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { httpAnswer } from '../core/http-request.js'
import { ownedService } from '../core/owned-places.js'
import type { Run } from '../core/run.js'
import type { SetupTask, TaskRun, TaskState } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from '../remote/run-script.js'
import {
  convergeServices,
  lookAtServices,
  publicFile,
  type ServiceSet,
  unitPath,
  unsteadyUnits,
} from '../remote/services.js'
import { portPackages, refuseTakenPort } from '../remote/taken-port.js'
import { waitUntil } from '../remote/wait-until.js'
import { hydraSettings, noPackage, reachedAt } from './hydra/settings.js'
import { machineTime, newestLines } from './journal.js'
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
const unit = 'nix-serve.service'

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
  owns: () => ownedService(unit),
  async probe(host, options, run): Promise<TaskState> {
    if (options.package === undefined) return 'needed'
    const { absent, wrong } = await lookAtServices(host, serviceSet(options, options.package), run)
    if (absent) return 'needed'
    return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
  },
  async apply(host, options, run) {
    if (options.package === undefined) throw noPackage(host, 'nix-serve', 'nixServe.package')
    await refuseOtherPackage(host, options.package, run)
    const hint = 'stop that program, or set deployment.hydra.nixServe.port to another port'
    await refuseTakenPort(host, { port: options.port, unit, hint }, run)
    await convergeServices(host, serviceSet(options, options.package), run)
    return { listens: listensAt(options) }
  },
  verify: verifyNixServe,
}

function listensAt({ address, port }: Pick<NixServeOptions, 'address' | 'port'>): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`
}

function serviceSet(options: NixServeOptions, path: string): ServiceSet {
  const file = publicFile(unitPath(unit), nixServeUnit({ ...options, package: path }))
  return { owner: 'nix-serve', files: [file], units: [{ name: unit, reads: [file.path] }], obsolete: [] }
}

/**
 * Writes the unit. systemd reads the key as root (LoadCredential), and the process has its own dynamic user. nix-serve
 * calls `nix dump-path` since 2020: without `nix-command` every NAR is empty, with status 200 (measured).
 */
export function nixServeUnit(
  options: Pick<NixServeOptions, 'address' | 'port' | 'secretKeyFile'> & { package: string },
): string {
  return `# Written by hydra-ops (set-up task "nix-serve"); changes made here are overwritten.
[Unit]
Description=nix-serve: the store as a binary cache
After=nix-daemon.socket network.target
StartLimitIntervalSec=0

[Service]
DynamicUser=true
User=nix-serve
SupplementaryGroups=nix-users
RuntimeDirectory=nix-serve
LoadCredential=key:${options.secretKeyFile}
Environment=NIX_REMOTE=daemon NIX_SECRET_KEY_FILE=%d/key HOME=%t/nix-serve
Environment="NIX_CONFIG=extra-experimental-features = nix-command"
ExecStart=${options.package}/bin/nix-serve --listen ${listensAt(options)} --workers 2
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
`
}

async function refuseOtherPackage(host: Host, path: string, run: Run): Promise<void> {
  const what = 'look at the package of nix-serve'
  const result = await host.exec(['test', '-x', `${path}/bin/nix-serve`], {
    signal: run.signal,
    timeoutMs: requestMs,
    what,
  })
  if (result.kind === 'exited' && result.code === 0) return
  throw failure('PACKAGE', `machine '${host.machine}': ${path} has no bin/nix-serve`, {
    machine: host.machine,
    hint: 'deployment.hydra.nixServe.package must be a package that has this program',
  })
}

/** Proves nix-serve with a small store path: signature and NAR. `GET /` is a 404 (measured). */
async function verifyNixServe(host: Host, options: NixServeOptions, run: TaskRun): Promise<void> {
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
    hint: `journalctl -u ${unit} on the machine says more`,
    evidence: () => newestLines(host, [unit], since, run),
    // The signed narinfo shows that nix-serve is up, so the program that it calls fails.
    hopeless: async () =>
      empty < emptyAnswers
        ? undefined
        : '`nix dump-path` fails on the machine; the journal below shows the cause',
    wrong: async () => {
      const info = await get('/nix-cache-info')
      if (info.status !== 200) return `/nix-cache-info answers with status ${info.status}`
      // The package of nix-serve itself may have hundreds of MiB.
      const question = { what: 'put a small file into the Nix store', script: 'tasks/nix-serve/small-path' }
      const hash = hashPart(fact(await askMachine(host, question, run), 'path'))
      const problem = await servedProblem(host, { hash, folder: '/', publicKey, get }, run)
      empty = problem?.emptyNar === true ? empty + 1 : 0
      if (problem !== undefined) return problem.text
      const [unsteady] = await unsteadyUnits(host, [unit], run)
      return unsteady
    },
  })
}

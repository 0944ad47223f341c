import { join } from 'node:path'
import pLimit from 'p-limit'
import { createNix } from '../nix/nix.js'
import { createSshProvider } from '../providers/ssh/index.js'
import { bindProvider } from '../src/core/bind-provider.js'
import type { Ops } from '../src/core/context.js'
import { usageError } from '../src/core/errors.js'
import { debianProfile } from '../src/core/machine-places.js'
import { DeploymentName, MachineName, StorePath } from '../src/core/names.js'
import type { Plan } from '../src/core/plan.js'
import { bindTask } from '../src/core/setup-task.js'
import type { Host } from '../src/core/ssh.js'
import { deploy } from '../src/deploy/deploy.js'
import { type DeployRequest, plainDeploy } from '../src/deploy/request.js'
import { localCommands } from '../src/exec/local-commands.js'
import { createRunLogs } from '../src/machine/run-logs.js'
import { targetScript } from '../src/remote/target-scripts.js'
import { nixTask } from '../src/setup/nix.js'
import { nixSettingsFile } from '../src/setup/nix-config.js'
import { nixRecordFile } from '../src/setup/nix-start.js'
import { createSsh } from '../src/ssh/create-ssh.js'
import { systemProfile } from '../src/systems/nixos/places.js'
import { surveyPlaces } from '../src/systems/nixos/survey.js'
import { setUpLock } from '../src/tasks/machine-lock.js'
import { createStateFolder } from '../state/paths.js'
import { createSecretFiles } from '../state/secrets.js'
import { createStore } from '../state/store.js'
import { pathOf } from '../test/fakes/model-hydra.js'
import { serveHydra } from '../test/fakes/served-hydra.js'
import { greenWish } from '../test/fixtures/hydra-wish.js'
import { withScript } from '../test/fixtures/with-script.js'
import { type FarSide, nixState, startFarSide } from './far-side.js'
import { type Comparison, inTurns, median } from './measure.js'
import { debianNetwork, nixosNetwork } from './network.js'
import { type OperatorHost, operatorHost } from './operator-host.js'
import { processorTime } from './processor-time.js'

/** Default number of machines that `deploy` works on at once, and number of raw connections at once. */
const atOnce = 10
const turns = 3
/** Maximum ratio of a deploy to as many raw `ssh` connections with OpenSSH's default key exchange. */
const defaultGoal = 0.7
/** Maximum ratio of a deploy to raw `ssh` connections with hydra-ops's key exchange, or with the whole look. */
const floorGoal = 2.5

/** Compares a deploy without changes with as many raw `ssh` connections at the same parallelism. */
export async function unchangedDeploy(): Promise<Comparison[]> {
  return [
    ...(await measureTargets(10, debian)),
    ...(await measureTargets(50, debian)),
    ...(await measureTargets(50, debian, { sshOption: quickExchange })),
  ]
}

/**
 * Compares a deploy without changes to NixOS machines with raw `ssh`. A second floor also runs the look at the
 * machine, because this host does the work of all 50 machines.
 */
export async function unchangedNixos(): Promise<Comparison[]> {
  return [...(await measureTargets(50, nixos)), ...(await measureTargets(50, nixos, { withLook: true }))]
}

/** Properties of a kind of machine that its far side and its network need. */
interface Kind {
  readonly name: string
  /** Links that lead to the deployed closure on a machine. */
  readonly links: readonly string[]
  network(machines: number, deployment: (index: number) => string): string
  readonly tasks: Awaited<ReturnType<Ops['tasks']>>
  /** ID in os-release, if the far side must report an ID other than this host's. */
  readonly system?: string
}

const debian: Kind = {
  name: 'ssh targets',
  links: [debianProfile],
  network: debianNetwork,
  get tasks() {
    return [unchangedNix]
  },
}

const nixos: Kind = {
  name: 'NixOS machines over ssh',
  links: ['/run/current-system', '/run/booted-system', systemProfile],
  network: nixosNetwork,
  tasks: [],
  system: 'nixos',
}

interface Variant {
  /** Additional ssh option of the raw connections. */
  readonly sshOption?: string | undefined
  /** Whether the raw connections run the look at a NixOS machine. */
  readonly withLook?: boolean
}

/**
 * Key exchange of hydra-ops's own connections. OpenSSH's default, sntrup761x25519, takes most of the time of a
 * raw connection. A floor with the default therefore makes hydra-ops look better.
 */
const quickExchange = 'KexAlgorithms=curve25519-sha256'

/** Measures deploys and raw connections, by wall-clock time and by the processor time of both sides. */
async function measureTargets(count: number, kind: Kind, variant: Variant = {}): Promise<Comparison[]> {
  const { sshOption, withLook = false } = variant
  const goal = sshOption === undefined && !withLook ? defaultGoal : floorGoal
  const host = operatorHost()
  const far: FarSide[] = []
  try {
    for (let index = 0; index < count; index++) far.push(await startFarSide(kind.links))
    const { ops, evaluations } = await opsOver(host, far, kind)
    await deployAll(ops)
    evaluations.length = 0
    const spentMs = processorTime()
    const times = await inTurns(
      turns,
      () => deployAll(ops),
      () => rawConnections(host, far, variant),
      spentMs,
    )
    const evaluation = median(evaluations)
    const row = {
      what: `unchanged deploy to ${count} ${kind.name}, without its one evaluation (${evaluation.toFixed(0)} ms)`,
      ms: times.ms - evaluation,
      floor: `${count} × raw \`ssh${sshOption === undefined ? '' : ` -o ${sshOption}`}\`${withLook ? ' with the look' : ''}, ${atOnce} at once`,
      floorMs: times.floorMs,
      budget: `≤ ${goal} × floor, evaluation once`,
      kept: times.ms - evaluation <= goal * times.floorMs && evaluations.length === turns + 1,
    }
    if (spentMs === undefined) return [row]
    const { spent } = times
    const byProcessor = {
      what: 'the same by processor time of all processes, with the evaluation',
      ms: spent.ms,
      floor: row.floor,
      floorMs: spent.floorMs,
      budget: `≤ ${goal} × floor`,
      kept: spent.ms <= goal * spent.floorMs,
    }
    return [row, byProcessor]
  } finally {
    await Promise.all(far.map((each) => each.stop()))
    host.dispose()
  }
}

/**
 * Compares a deploy of a Hydra's builds with a deploy that evaluates the same machines. Both find nothing to do.
 * Their difference is the evaluation of the closures against the queries to the Hydra.
 */
export async function unchangedFromHydra(count = 50): Promise<Comparison[]> {
  const hosts = [operatorHost(), operatorHost()] as const
  const far: FarSide[] = []
  const now = Math.floor(Date.now() / 1_000)
  const names = Array.from({ length: count }, (_, index) => `m${index + 1}`)
  const jobs = Object.fromEntries(names.map((name, index) => [name, { id: index + 1, status: 0 }]))
  const release = { id: count + 1, status: 0, parts: names }
  const hydra = await serveHydra([{ id: 1, timestamp: now, jobs: { ...jobs, release } }])
  const place = { url: hydra.model.url, project: 'infra', jobset: 'main' }
  const built: DeployRequest = { ...request, fromHydra: { ...greenWish, source: place } }
  try {
    for (let index = 0; index < count; index++) far.push(await startFarSide(debian.links))
    const builtByHydra = far.map((_, index) => StorePath.parse(pathOf(`m${index + 1}`, index + 1)))
    const { ops } = await opsOver(hosts[0], far, debian)
    const hydraOps = (await opsOver(hosts[1], far, debian, builtByHydra)).ops
    const spentMs = processorTime()
    const { spent, ...times } = await inTurns(
      turns,
      () => deployAll(hydraOps, built),
      () => deployAll(ops),
      spentMs,
    )
    const row = (what: string, { ms, floorMs }: { ms: number; floorMs: number }): Comparison => ({
      what,
      ms,
      floor: 'the same, evaluated by the operator',
      floorMs,
      budget: '≤ 1.1 × floor',
      kept: ms <= 1.1 * floorMs,
    })
    return [
      row(`unchanged deploy to ${count} ssh targets, of what a Hydra built`, times),
      ...(spentMs === undefined ? [] : [row('the same by processor time of all processes', spent)]),
    ]
  } finally {
    await Promise.all(far.map((each) => each.stop()))
    await hydra.close()
    for (const host of hosts) host.dispose()
  }
}

async function deployAll(ops: Ops, asked: DeployRequest = request): Promise<void> {
  const { results } = await deploy(ops, asked)
  const other = results.filter((result) => result.outcome !== 'unchanged')
  // The first deploy records the tasks, which counts as a change.
  if (other.some((result) => result.outcome === 'failed')) {
    throw new Error(other.map((result) => `${result.machine}: ${result.stage} ${result.reason}`).join('\n'))
  }
}

function rawConnections(
  host: OperatorHost,
  far: readonly FarSide[],
  { sshOption, withLook = false }: Variant,
): Promise<string[]> {
  const [command, stdin] = withLook
    ? ['sh', targetScript('nixos/survey', { ...surveyPlaces, wanted: '', report: false })]
    : ['true', '']
  const limit = pLimit(atOnce)
  const options = ['-F', 'none', '-o', 'BatchMode=yes', '-o', 'StrictHostKeyChecking=no']
  const unknown = ['-o', 'UserKnownHostsFile=/dev/null', '-o', 'LogLevel=ERROR']
  return Promise.all(
    far.map(({ sshd }) =>
      limit(() =>
        host.program(
          'ssh',
          [
            ...options,
            ...unknown,
            ...(sshOption === undefined ? [] : ['-o', sshOption]),
            ...['-i', sshd.identityFile, '-p', String(sshd.port), `${sshd.user}@127.0.0.1`, command],
          ],
          stdin,
        ),
      ),
    ),
  )
}

const request: DeployRequest = {
  ...plainDeploy,
  maxConcurrent: atOnce,
  yes: true,
  onPlan: refuseWork,
}

/** Fails for a plan with any work other than set-up tasks: the work would change this host. */
function refuseWork(plan: Plan): void {
  const work = plan.machines.flatMap(({ machine, items, unknown }) => [
    ...(unknown === undefined ? [] : [`${machine}: ${unknown}`]),
    ...items
      .filter(({ subject }) => subject !== 'setup')
      .map(({ subject, action, detail }) => `${machine}: ${subject} ${action} ${detail}`),
  ])
  if (work.length > 0) throw new Error(`the stand-ins do not look unchanged:\n${work.join('\n')}`)
}

/**
 * Combines the real engine with the real store, Nix and ssh. The far sides report the closures of the evaluation,
 * unless `closures` are given.
 */
async function opsOver(
  host: OperatorHost,
  far: readonly FarSide[],
  kind: Kind,
  closures?: readonly StorePath[],
): Promise<{ ops: Ops; evaluations: number[] }> {
  const operator = { user: 'bench', host: 'bench', command: 'bench', run: 'bench' }
  const { env } = host
  const files = createStateFolder(host.state, {})
  const store = await createStore({ files, operator, env })
  const ssh = createSsh({ local: localCommands, env, homeDir: host.folder })
  const provider = bindProvider(createSshProvider({ ssh }))
  const nix = createNix({
    local: localCommands,
    stateRoot: files.root,
    env,
    providers: [provider],
    cwd: host.folder,
  })
  const evaluations: number[] = []
  const osRelease = kind.system && host.write('os-release', `ID=${kind.system}\n`)
  const nixRecord = await recordNix(host)
  const nobody = () => Promise.reject(usageError('nobody to ask'))
  const ops: Ops = {
    store,
    files,
    secrets: createSecretFiles(files),
    ssh: {
      ...ssh,
      connect: async (...asked) => {
        const connected = await ssh.connect(...asked)
        return { ...connected, host: madeUp(connected.host, { osRelease, nixRecord }) }
      },
    },
    operator,
    local: localCommands,
    providers: { all: () => [provider], named: () => provider },
    nix: {
      ...nix,
      // This host lacks the closures of a made-up Hydra. Only the first deploy asks for them, and is not measured.
      fetchable: closures === undefined ? nix.fetchable : async () => ({ kind: 'valid' }),
      evaluate: async (...asked) => {
        const begin = performance.now()
        const network = await nix.evaluate(...asked)
        evaluations.push(performance.now() - begin)
        for (const [index, each] of far.entries()) {
          const closure =
            closures?.[index] ?? network.machines.get(MachineName.parse(`m${index + 1}`))?.outPath
          if (closure !== undefined) each.hasDeployed(closure)
        }
        return network
      },
    },
    images: {
      list: async () => [],
      find: async () => undefined,
      ensure: () => Promise.reject(new Error('no image is needed')),
      remove: async () => [],
    },
    tasks: async () => kind.tasks,
    hydraUsers: async () => undefined,
    whyNotBuilt: nobody,
    proveBuilder: nobody,
    events: { emit: () => {} },
    questions: {
      interactive: false,
      confirm: nobody,
      secret: nobody,
      text: nobody,
      choose: nobody,
      piped: nobody,
    },
    logs: (folder) =>
      createRunLogs({ folder, run: operator.run, now: () => new Date(), onProblem: () => {} }),
    signal: new AbortController().signal,
    now: () => new Date(),
    doctor: async () => [],
  }
  await rememberNetwork(host, store, far, kind)
  return { ops, evaluations }
}

/**
 * Simulates the lock of a set-up, which lies in /run and belongs to root on this host. Only the first deploy
 * takes the lock, and is not measured. Scripts read the given os-release, and the record of this host's Nix.
 */
function madeUp(
  host: Host,
  places: { readonly osRelease: string | undefined; readonly nixRecord: string },
): Host {
  return withScript(host, async (text, args, options) =>
    options.what === setUpLock.take || options.what === setUpLock.release
      ? { kind: 'exited', code: 0, stdout: '', stderr: '' }
      : host.script(
          text
            .replaceAll('/etc/os-release', places.osRelease ?? '/etc/os-release')
            .replaceAll(nixRecordFile, places.nixRecord),
          args,
          options,
        ),
  )
}

/** Records how the Nix of this host starts, as the set-up task does on a machine; returns the file. */
async function recordNix(host: OperatorHost): Promise<string> {
  const record = join(host.folder, 'nix-starts')
  const script = targetScript('tasks/nix/record', { record, settings: nixSettingsFile })
  await host.program('env', [nixState(join(host.folder, 'nix')), 'sh'], script)
  return record
}

/** The Nix task with its usual probe. The result of the probe is ignored, and Nix always counts as set up. */
const unchangedNix = bindTask({
  ...nixTask,
  debianPackages: () => ['base-files'],
  probe: async (...asked) => {
    await nixTask.probe(...asked)
    return 'done' as const
  },
  apply: async () => ({}),
  verify: async () => {},
})

async function rememberNetwork(
  host: OperatorHost,
  store: Awaited<ReturnType<typeof createStore>>,
  far: readonly FarSide[],
  kind: Kind,
): Promise<void> {
  const file = host.write(
    'network.nix',
    kind.network(far.length, (index) => targetOf(far[index - 1])),
  )
  const name = DeploymentName.parse('bench')
  await store.create({ name, expressions: [file], searchPath: [], args: {} })
}

function targetOf(far: FarSide | undefined): string {
  if (far === undefined) throw new Error('a machine without a far side')
  const { port, user, hostKey, identityFile } = far.sshd
  return `    deployment.targetHost = "127.0.0.1";
    deployment.targetPort = ${port};
    deployment.targetUser = "${user}";
    deployment.targetHostKey = "${hostKey}";
    deployment.sshOptions = [ "-i" "${identityFile}" ];`
}

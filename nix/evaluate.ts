import { missingPart, withNetworkHydra } from '../src/core/auto-update-options.js'
import type { MachineDefinition, NetworkDefinition } from '../src/core/definition.js'
import { failure, OpsError, usageError } from '../src/core/errors.js'
import { MachineName } from '../src/core/names.js'
import type { EvaluationRequest, Nix } from '../src/core/nix.js'
import type { Run } from '../src/core/run.js'
import {
  evaluationError,
  machinesOf,
  type NixError,
  needsWritableStore,
  parseNixError,
} from './evaluation-errors.js'
import { type EvaluationInput, evaluationText, ownNixFolder } from './evaluation-input.js'
import { availableMemory, batchSize, needIn, statistics } from './evaluation-memory.js'
import { EvaluationOutput, readMachine } from './evaluation-output.js'
import { checkExpressionFiles } from './expression-files.js'
import { type SourcedRequest, withSource } from './git-source.js'
import { hasCommonCause, together } from './joined-errors.js'
import { readFacts } from './network-facts.js'
import { howItEnded, type NixCommand, wasOutOfMemory } from './nix-command.js'
import { isUnbornStore } from './nix-store-choice.js'
import { refusedOnNixos } from './nixos-output.js'
import type { KnownProvider } from './provider-part.js'
import type { TaskBinder } from './reserved-places.js'
import { otherTraces, tellWarnings } from './tell-warnings.js'
import { withTemporaryStore } from './temporary-store.js'

export interface EvaluatorParts {
  readonly command: NixCommand
  readonly providers: readonly KnownProvider[]
  /** Loads the set-up tasks, whose files are reserved, when an evaluation needs them. */
  readonly tasks?: () => Promise<readonly TaskBinder[]>
  /** Current folder; errors show paths below this folder as relative paths. */
  readonly cwd?: string
  readonly deadlineMs?: number
  /** Returns the memory in bytes that an evaluation can use now. */
  readonly available?: () => number
}

const tenMinutes = 600_000
const what = 'evaluate the network expression'

/**
 * Number of broken machines after which the search stops: each broken machine costs another evaluation of all.
 */
const mostBroken = 10
const mostBrokenBesides = 50

/** The store of an evaluation, and whether Nix may write to the store. */
type Store = { readonly write: boolean; readonly remote?: string }

type Batch = NonNullable<EvaluationInput['batch']>

type Attempt =
  | { readonly kind: 'data'; readonly output: EvaluationOutput; readonly bytesForOne: number | undefined }
  /** The kernel killed Nix, most likely for lack of memory. */
  | { readonly kind: 'killed'; readonly how: string }
  | { readonly kind: 'error'; readonly nix: NixError; readonly shown: OpsError }

interface Evaluated {
  readonly output: EvaluationOutput
  /** Errors of the broken machines; the network evaluates without these machines. */
  readonly broken: ReadonlyMap<string, OpsError>
}

/** Internal signal that the expression needs a writable store. */
class StoreNeeded extends Error {
  readonly shown: OpsError
  constructor(shown: OpsError) {
    super(shown.message)
    this.shown = shown
  }
}

export function createEvaluator(parts: EvaluatorParts): Nix['evaluate'] {
  const cwd = parts.cwd ?? process.cwd()
  const available = parts.available ?? (() => availableMemory())

  return async (request, run) => {
    checkExpressionFiles(request.files, cwd)
    const dry = await evaluateWithoutWriting(request, run)
    if (dry !== undefined) {
      const network = await readNetwork(dry, request)
      if (request.mode !== 'write' || (await areInstantiated(network, request, run))) {
        tellWarnings(dry.output, network, cwd, run)
        return network
      }
    }
    const evaluated = await evaluateIsolating(request, { write: true }, run)
    const network = await readNetwork(evaluated, request)
    tellWarnings(evaluated.output, network, cwd, run)
    return network
  }

  /**
   * Evaluates without writing. A deploy begins in this way too, so that a wrong expression leaves nothing behind.
   * An unchanged expression finds every derivation in the store. Returns undefined where a deploy must write to
   * the store.
   */
  async function evaluateWithoutWriting(
    request: EvaluationRequest,
    run: Run,
  ): Promise<Evaluated | undefined> {
    const unborn = isUnbornStore(await parts.command.store())
    try {
      // Nix creates a missing chroot store even for reading.
      return await evaluateIsolating(
        request,
        { write: false, ...(unborn ? { remote: 'dummy://' } : {}) },
        run,
      )
    } catch (error) {
      if (!(error instanceof StoreNeeded)) throw error
      if (request.mode === 'write') return undefined
      if (!unborn) throw error.shown
      return await withTemporaryStore((remote) => evaluateIsolating(request, { write: true, remote }, run))
    }
  }

  /**
   * Evaluates, and evaluates again without each broken machine, so that one error does not hide another
   * machine's. One evaluation is enough while the memory suffices. Further NixOS machines are evaluated
   * separately, as many at once as the memory use of the last evaluation allows.
   */
  async function evaluateIsolating(request: EvaluationRequest, store: Store, run: Run): Promise<Evaluated> {
    const broken = new Map<string, OpsError>()
    const blocking: OpsError[] = []
    const outputs: EvaluationOutput[] = []
    let batch: Batch = { first: batchSize(available(), undefined) }
    let waiting: readonly string[] = []
    let most = Number.POSITIVE_INFINITY
    const sourced = await sourceOf(request, store, run)
    for (;;) {
      const attempt = await evaluateOnce(sourced, store, [...broken.keys()], batch, run)
      if (attempt.kind === 'killed') {
        const size = sizeOf(batch)
        if (size === 0 || ('names' in batch && size === 1)) throw killed(attempt.how, batch)
        most = Math.max(1, Math.floor(size / 2))
        run.log(`${attempt.how}: the evaluation is tried again with at most ${most} NixOS machines at once`)
        const all: readonly string[] = [...('names' in batch ? batch.names : []), ...waiting]
        waiting = all.slice(most)
        // An evaluation without any NixOS machine still lists the names of NixOS machines.
        batch = 'names' in batch ? { names: all.slice(0, most) } : { first: 0 }
        continue
      }
      if (attempt.kind === 'data') {
        outputs.push(attempt.output)
        waiting = [...attempt.output.later, ...waiting]
        if (waiting.length === 0) return { output: joined(outputs), broken }
        const size = Math.min(most, batchSize(available(), attempt.bytesForOne))
        batch = { names: waiting.slice(0, size) }
        waiting = waiting.slice(size)
        continue
      }
      if (needsWritableStore(attempt.nix) && !store.write) throw new StoreNeeded(attempt.shown)
      const machine = machinesOf(attempt.nix).find((name) => !broken.has(name))
      if (machine === undefined) throw together([...blocking, attempt.shown])
      broken.set(machine, attempt.shown)
      if (isRequired(machine, request)) blocking.push(attempt.shown)
      if (blocking.length >= mostBroken || hasCommonCause(blocking)) throw notAll(together(blocking))
      if (broken.size >= mostBrokenBesides) throw notAll(together([...broken.values()]))
    }
  }

  /** Fetches the source of a network in git; the fetch needs a store. */
  function sourceOf(request: EvaluationRequest, { remote }: Store, run: Run): Promise<SourcedRequest> {
    if (request.checkout !== undefined && remote === 'dummy://')
      throw new StoreNeeded(failure('NIX', `cannot ${what}: there is no store yet`))
    return withSource(parts.command, request, { remote, cwd }, run)
  }

  async function evaluateOnce(
    request: SourcedRequest,
    store: Store,
    exclude: readonly string[],
    batch: Batch,
    run: Run,
  ): Promise<Attempt> {
    const { files, physical, deployment, mode, args, flags, searchPath } = request
    const optionKeys = parts.providers.flatMap(({ optionKey }) => optionKey ?? [])
    const only = request.only === undefined ? null : request.only
    const providerModules = parts.providers.flatMap(({ optionsNix }) => optionsNix ?? [])
    const input = evaluationText(
      {
        ...{ files, physical, deployment, mode, only, exclude, optionKeys, providerModules },
        ...{ refused: refusedOnNixos, batch },
      },
      args,
    )
    const traces: string[] = []
    const result = await parts.command.run(
      'nix-instantiate',
      [
        ...['--eval', '--strict', '--json', '--show-trace'],
        store.write ? '--read-write-mode' : '--readonly-mode',
        ...searchPath.flatMap((entry) => ['-I', entry]),
        '-',
      ],
      {
        signal: run.signal,
        timeoutMs: parts.deadlineMs ?? tenMinutes,
        what,
        stdin: input.text,
        flags: { ...flags, showTrace: false },
        onLine: (line) => {
          // Other lines stay hidden, because they may hold a secret, as the JSON does.
          if (/^(?:trace|warning|evaluation warning): /.test(line)) traces.push(request.restore(line))
        },
        extraEnv: { ...statistics, ...(store.remote === undefined ? {} : { NIX_REMOTE: store.remote }) },
      },
    )
    if (result.kind === 'exited' && result.code === 0) {
      const output = readOutput(request.restoreJson(result.stdout))
      for (const line of otherTraces(traces, output)) run.log(line)
      return { kind: 'data', output, bytesForOne: needOfOne(output, needIn(result.stderr)) }
    }
    for (const line of traces) run.log(line)
    if (wasOutOfMemory(result)) return { kind: 'killed', how: howItEnded(result) }
    if (result.kind !== 'exited') throw killed(howItEnded(result), undefined)
    const said = request.restore(result.stderr)
    const nix = parseNixError(said, ownNixFolder())
    return {
      kind: 'error',
      nix,
      shown: evaluationError(nix, said, { cwd, showTrace: flags.showTrace, input, files: request.written }),
    }
  }

  /** Tells whether the store has every requested derivation with all its dependencies. */
  async function areInstantiated(
    network: NetworkDefinition,
    request: EvaluationRequest,
    run: Run,
  ): Promise<boolean> {
    if (isUnbornStore(await parts.command.store())) return false
    const derivations = [...network.machines.values()].flatMap((machine) => machine.drvPath ?? [])
    if (derivations.length === 0) return true
    const result = await parts.command.run('nix-store', ['--check-validity', ...derivations], {
      signal: run.signal,
      timeoutMs: parts.deadlineMs ?? tenMinutes,
      what: 'look for the derivations in the Nix store',
      flags: { ...request.flags, showTrace: false },
    })
    return result.kind === 'exited' && result.code === 0
  }

  async function readNetwork(
    { output, broken }: Evaluated,
    request: EvaluationRequest,
  ): Promise<NetworkDefinition> {
    const tasks = (await parts.tasks?.()) ?? []
    const rules = { providers: parts.providers, tasks, deployment: request.deployment.name, cwd }
    const facts = readFacts(output.network, cwd)
    const wrongFacts = facts instanceof OpsError ? [facts] : []
    const machines = new Map<MachineName, MachineDefinition>()
    const failed = new Map(broken)
    for (const [name, raw] of Object.entries(output.machines)) {
      const machine = withNetworkOptions(readMachine(name, raw, rules), facts)
      if (machine instanceof OpsError) failed.set(name, machine)
      else machines.set(machine.name, machine)
    }
    const required = [...failed].filter(([name]) => isRequired(name, request)).map(([, error]) => error)
    const blocking = [...wrongFacts, ...required]
    if (blocking.length > 0 || facts instanceof OpsError) throw together(blocking)
    const valid = [...failed].flatMap(([name, error]) => {
      const parsed = MachineName.safeParse(name)
      return parsed.success ? [[parsed.data, error] as const] : []
    })
    return { ...facts, machines, failed: new Map(valid) }
  }
}

/** Fills in missing options of a machine from those of the network. */
function withNetworkOptions(
  machine: MachineDefinition | OpsError,
  facts: Pick<NetworkDefinition, 'hydra'> | OpsError,
): MachineDefinition | OpsError {
  if (machine instanceof OpsError || facts instanceof OpsError) return machine
  const { autoUpdate: own, hydraSource } = machine.options
  if (!own.enable) return machine
  const autoUpdate = withNetworkHydra(own, hydraSource, facts.hydra)
  const missing = missingPart(autoUpdate)
  if (missing === undefined) {
    // The branches are equal, because TypeScript would otherwise lose the kind of the definition.
    return machine.os === 'nixos'
      ? { ...machine, options: { ...machine.options, autoUpdate } }
      : { ...machine, options: { ...machine.options, autoUpdate } }
  }
  return usageError(
    `machine '${machine.name}': deployment.autoUpdate.enable: no option says which Hydra builds the machine (${missing})`,
    {
      machine: machine.name,
      hint: 'set network.hydra = { url = "https://hydra.example.org"; project = "infra"; jobset = "main"; }; or the same options in deployment.autoUpdate',
    },
  )
}

function sizeOf(batch: Batch): number {
  return 'names' in batch ? batch.names.length : batch.first
}

/** Returns the memory that an evaluation took for each NixOS machine; undefined without a NixOS machine. */
function needOfOne({ machines }: EvaluationOutput, bytes: number | undefined): number | undefined {
  const count = Object.values(machines).filter(({ os }) => os === 'nixos').length
  return bytes === undefined || count === 0 ? undefined : bytes / count
}

function joined(outputs: readonly EvaluationOutput[]): EvaluationOutput {
  const [first, ...others] = outputs
  if (first === undefined) throw new Error('no evaluation returned anything')
  return {
    ...first,
    later: [],
    machines: Object.assign({}, first.machines, ...others.map(({ machines }) => machines)),
  }
}

function killed(how: string, batch: Batch | undefined): OpsError {
  const [machine] = batch !== undefined && 'names' in batch ? batch.names : []
  return failure(
    'NIX_KILLED',
    `${machine === undefined ? '' : `machine '${machine}': `}cannot ${what}: ${how}`,
    {
      ...(machine === undefined ? {} : { machine }),
      hint: 'select fewer machines with --include, or add memory to this host',
    },
  )
}

function isRequired(machine: string, request: EvaluationRequest): boolean {
  const required = request.required ?? request.only
  return required === undefined || required.some((name) => name === machine)
}

/** Adds to an error that more errors may follow. */
function notAll(error: OpsError): OpsError {
  const more = 'the evaluation did not reach every machine; the other machines may have more errors'
  const { hint, detail } = error
  return usageError(error.message, {
    hint: hint === undefined ? more : `${hint}; ${more}`,
    ...(detail === undefined ? {} : { detail }),
  })
}

function readOutput(stdout: string): EvaluationOutput {
  const result = EvaluationOutput.safeParse(JSON.parse(stdout))
  if (result.success) return result.data
  // An invalid result is a bug in hydra-ops. Its values may be secret, but the paths of the values are not.
  throw new Error(
    `eval.nix returned unexpected values at ${result.error.issues.map((issue) => issue.path.join('.')).join(', ')}`,
  )
}

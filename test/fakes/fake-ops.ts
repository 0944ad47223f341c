import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type AnyProvider, bindProvider } from '../../src/core/bind-provider.js'
import type { Operator, Ops, RunLogs } from '../../src/core/context.js'
import type { NetworkDefinition } from '../../src/core/definition.js'
import type { DeploymentRecord } from '../../src/core/deployment.js'
import { exitCodes, OpsError, usageError } from '../../src/core/errors.js'
import type { OpsEvent } from '../../src/core/events.js'
import type { BaseImage, ImageStore } from '../../src/core/image.js'
import { DeploymentName, type MachineName } from '../../src/core/names.js'
import type { Run } from '../../src/core/run.js'
import { proveFrom } from '../../src/setup/builders/proof.js'
import { whyNotBuilt } from '../../src/setup/builders/why/ask.js'
import { hydraUserAdmin } from '../../src/setup/hydra/user-admin.js'
import { createStateFolder } from '../../state/paths.js'
import { createSecretFiles } from '../../state/secrets.js'
import { createStore } from '../../state/store.js'
import { createFakeHypervisor, type FakeHypervisor } from './fake-hypervisor.js'
import { fakeNetwork } from './fake-network.js'
import { createFakeNix, type FakeNix } from './fake-nix.js'
import { createFakeProvider } from './fake-provider.js'
import { type Answer, createFakeSsh, type FakeSsh } from './fake-ssh.js'

export interface FakeOpsOptions {
  /** The result of the network expression. Default: no machines. */
  readonly network?: NetworkDefinition
  /** The folder of all files. A reused folder shows the files of an earlier (killed) process. Default: a new folder. */
  readonly folder?: string
  /** The answer to commands without a rule; such commands are errors without this answer. */
  readonly fallback?: Answer
  /** Runs after the n-th durable write of the store. */
  readonly onWrite?: (n: number) => void
  /** Runs before the n-th change of the made-up hypervisor. */
  readonly onOperation?: (n: number, operation: string) => void
  readonly strangerPorts?: ReadonlySet<number>
  /** The replacements for parts of the Ops. */
  readonly parts?: Partial<Ops>
}

/** An Ops with the real store in a temporary folder; all other parts are stand-ins. */
export interface FakeOps extends Ops {
  readonly folder: string
  readonly ssh: FakeSsh
  readonly nix: FakeNix
  readonly hypervisor: FakeHypervisor
  readonly emitted: OpsEvent[]
  readonly logged: { readonly machine: MachineName | undefined; readonly line: string }[]
  /** Every question that the user was asked. */
  readonly asked: string[]
  /** The answer to a question. Default: refused, as without a terminal. */
  answerTo?: boolean
  cleanup(): void
}

export const fakeOperator: Operator = {
  user: 'tester',
  host: 'testhost',
  command: 'hydra-ops test',
  run: '20260102-030405-abcdef',
}

export async function createFakeOps(options: FakeOpsOptions = {}): Promise<FakeOps> {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), 'hydra-ops-test-'))
  const hypervisor = createFakeHypervisor(join(folder, 'hypervisor'), options.onOperation)
  const provider = bindProvider(
    createFakeProvider(
      hypervisor,
      options.strangerPorts === undefined ? {} : { strangerPorts: options.strangerPorts },
    ),
  )
  const files = createStateFolder(join(folder, 'state'), {})
  const emitted: OpsEvent[] = []
  const logged: FakeOps['logged'] = []
  const asked: string[] = []
  const answered = (question: string): boolean => {
    asked.push(question)
    if (ops.answerTo === undefined) throw noTerminal(question)
    return ops.answerTo
  }
  const nobody = async (question: string): Promise<never> => {
    asked.push(question)
    throw noTerminal(question)
  }
  const ops: FakeOps = {
    folder,
    hypervisor,
    emitted,
    logged,
    asked,
    files,
    secrets: createSecretFiles(files),
    store: await createStore({
      files,
      operator: fakeOperator,
      env: {},
      onWrite: options.onWrite,
    }),
    providers: fakeRegistry([provider]),
    nix: createFakeNix(options.network ?? fakeNetwork([]), join(folder, 'nix')),
    ssh: createFakeSsh({
      // A machine answers on its own port while its domain runs.
      reachable: (target) =>
        hypervisor.listing().running.some((name) => hypervisor.domain(name)?.port === target.port),
      ...(options.fallback === undefined ? {} : { fallback: options.fallback }),
    }),
    images: fakeImages(folder),
    tasks: async () => [],
    hydraUsers: async (machine, deployed) => hydraUserAdmin(machine, deployed),
    whyNotBuilt,
    proveBuilder: proveFrom,
    events: { emit: (event) => emitted.push(event) },
    operator: fakeOperator,
    local: {
      run: async (argv) => {
        throw new Error(`a test ran a real program: ${argv.join(' ')}`)
      },
      interactive: async (argv) => {
        throw new Error(`a test ran a real program: ${argv.join(' ')}`)
      },
      spawnDuplex: (argv) => {
        throw new Error(`a test ran a real program: ${argv.join(' ')}`)
      },
      spawnReadable: (argv) => {
        throw new Error(`a test ran a real program: ${argv.join(' ')}`)
      },
    },
    questions: {
      interactive: false,
      confirm: async (question) => answered(question),
      secret: nobody,
      text: nobody,
      choose: nobody,
      piped: nobody,
    },
    logs: () => fakeLogs(logged),
    signal: new AbortController().signal,
    now: () => new Date('2026-01-02T03:04:05Z'),
    doctor: async () => [],
    cleanup: () => rmSync(folder, { recursive: true, force: true }),
  }
  return Object.assign(ops, options.parts)
}

function noTerminal(question: string): OpsError {
  return new OpsError('NO_TERMINAL', exitCodes.usage, `nobody is there to answer: ${question}`)
}

export function fakeRun(log: (line: string) => void = () => {}): Run {
  return { signal: new AbortController().signal, log }
}

export function fakeRegistry(providers: readonly AnyProvider[]): Ops['providers'] {
  return {
    all: () => providers,
    named: (name) => {
      const found = providers.find((provider) => provider.name === name)
      if (found === undefined) throw usageError(`there is no provider '${name}'`)
      return found
    },
  }
}

function fakeLogs(logged: FakeOps['logged']): RunLogs {
  return {
    append: (machine, line) => logged.push({ machine, line }),
    tail: (machine, lines) =>
      logged
        .filter((each) => each.machine === machine)
        .slice(-lines)
        .map((each) => each.line),
    hold: () => {},
    release: () => {},
    close: () => {},
  }
}

function fakeImages(folder: string): ImageStore {
  const imageOf = (reference: string): BaseImage => ({
    id: reference,
    reference,
    disk: join(folder, 'images', `${reference}.qcow2`),
    format: 'qcow2',
    virtualBytes: 10 * 1024 ** 3,
    identity: 'fwcfg',
  })
  return {
    list: async () => [],
    find: async (reference) => imageOf(reference),
    ensure: async (reference) => imageOf(reference),
    remove: async () => [],
  }
}

/** Creates the deployment `net`, whose only expression does not exist. */
export function rememberNetwork(ops: Pick<FakeOps, 'store'>): Promise<DeploymentRecord> {
  const name = DeploymentName.parse('net')
  return ops.store.create({ name, expressions: ['/net.nix'], searchPath: [], args: {} })
}

import type { HydraUserSeen } from '../../src/core/hydra-user-admin.js'
import { MachineName } from '../../src/core/names.js'
import { deploy } from '../../src/deploy/deploy.js'
import { runFakeDebian } from './fake-debian.js'
import { fakeMachine, fakeNetwork } from './fake-network.js'
import { createFakeOps, type FakeOps } from './fake-ops.js'
import { exit, type RecordedExec, succeed } from './fake-ssh.js'
import { recordsOf } from './script-values.js'
import { standardRequest } from './standard-request.js'

/** A deployment with a Hydra on each machine, and one made-up table of users for all machines. */
export interface FakeHydra {
  readonly ops: FakeOps
  readonly users: Map<string, HydraUserSeen & { readonly password: string }>
  /** The calls of hydra-create-user, without `env` and its variables. */
  readonly calls: { readonly argv: readonly string[]; readonly stdin: string }[]
  /** The answers to questions for a secret, in order; an empty list = no terminal. */
  readonly typed: string[]
  history(): Promise<{ readonly event: string; readonly result: string | undefined }[]>
}

const deployedPackage = '/nix/store/00000000000000000000000000000000-hydra-deployed'
const programs = ['init', 'server', 'evaluator', 'queue-runner', 'create-user'].map((name) => `hydra-${name}`)

export async function fakeHydra(hydra: Record<string, unknown>, machines = ['ci']): Promise<FakeHydra> {
  const options = { deployment: { hydra: { enable: true, ...hydra } } }
  const ops = await createFakeOps({
    network: fakeNetwork(machines.map((name) => fakeMachine(name, options))),
  })
  const fake: FakeHydra = {
    ops,
    users: new Map(),
    calls: [],
    typed: [],
    history: async () =>
      (await ops.store.history((await ops.store.resolve(undefined)).uuid))
        .filter(({ event }) => event.startsWith('hydra.'))
        .map(({ event, result }) => ({ event, result })),
  }
  runFakeDebian(ops)
  const { uuid } = await ops.store.create({
    name: undefined,
    expressions: ['/net.nix'],
    searchPath: [],
    args: {},
  })
  await deploy(ops, { ...standardRequest, deployment: undefined })
  const record = { inputs: '', outputs: { url: 'http://127.0.0.1:8080', package: deployedPackage }, at: '' }
  await ops.store.lock(uuid, async (held) => {
    for (const name of machines)
      await held.updateMachine(MachineName.parse(name), ({ tasks }) =>
        Object.assign(tasks, { hydra: record }),
      )
  })
  answerAsHydra(fake)
  answerQuestions(fake)
  ops.ssh.execs.length = 0
  return fake
}

function answerAsHydra({ ops, users, calls }: FakeHydra): void {
  ops.ssh.answer('look for PostgreSQL', succeed('cluster=15 main 5432 online postgres\n'))
  ops.ssh.answer(
    'look at the package of Hydra',
    succeed(programs.map((name) => `program=${name}\n`).join('')),
  )
  ops.ssh.answer('look at the users of Hydra', () =>
    succeed(
      `users=${JSON.stringify(
        [...users.values()].map(({ name, fullName, emailAddress, roles, canLogin }) => ({
          ...{ username: name, fullname: fullName, emailaddress: emailAddress, roles, canlogin: canLogin },
        })),
      )}\n`,
    ),
  )
  ops.ssh.answer(/^(?:make|change) Hydra's user /, ({ values, stdin }: RecordedExec) => {
    const command = recordsOf(values.command).flat()
    const words = command.filter((word) => word !== 'env' && !/^[A-Z_]+=/.test(word))
    calls.push({ argv: words, stdin })
    const [program = '', name = '', ...flags] = words
    if (program !== `${deployedPackage}/bin/hydra-create-user`) return exit(127, `no ${program}`)
    const [first = '', second] = stdin.split('\n')
    if (flags.includes('--password-prompt') && (first === '' || first !== second))
      return exit(255, 'no password')
    const known = users.get(name)
    users.set(name, {
      name,
      fullName: lastOf(flags, '--full-name') ?? known?.fullName ?? '',
      emailAddress: lastOf(flags, '--email-address') ?? known?.emailAddress ?? '',
      roles: flags.includes('--wipe-roles') ? valuesOf(flags, '--role') : (known?.roles ?? []),
      canLogin: flags.includes('--password-prompt') || known?.canLogin === true,
      password: flags.includes('--password-prompt') ? first : (known?.password ?? ''),
    })
    return succeed()
  })
}

function answerQuestions({ ops, typed }: FakeHydra): void {
  const { questions } = ops
  Object.assign(ops, {
    questions: {
      ...questions,
      get interactive() {
        return typed.length > 0
      },
      secret: async (question: string) => {
        ops.asked.push(question)
        const answer = typed.shift()
        return answer ?? questions.secret(question)
      },
      piped: async () => typed.shift() ?? '',
    },
  })
}

function lastOf(flags: readonly string[], name: string): string | undefined {
  return valuesOf(flags, name).at(-1)
}

function valuesOf(flags: readonly string[], name: string): string[] {
  return flags.flatMap((flag, at) => (flags[at - 1] === name ? [flag] : []))
}

import { offerTask, offerText, operatorName } from '../../core/builder-offer.js'
import { isForOperator } from '../../core/builder-options.js'
import { failure } from '../../core/errors.js'
import { MachineName } from '../../core/names.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskMachine, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { fact, runScript } from '../../remote/run-script.js'
import { ownFeatures } from '../hydra/config-text.js'
import {
  type Account,
  accountFaults,
  accountOf,
  authorizedKeys,
  hasAccount,
  keysFile,
  type Logins,
  loginsOf,
  lookAtAccount,
  makeAccount,
  removeAccount,
} from './account.js'
import { hasHome, homeFaults, lookAtHome, makeHome, removeHome, verifyHome } from './home-account.js'

/** The account for logins, and the builder's capabilities as the expression wants them. */
interface OfferOptions extends Account, Logins {
  readonly kind: 'offer'
  readonly host: string
  readonly port: number
  readonly systems: readonly string[] | undefined
  /** Systems that the machine emulates, besides its own. */
  readonly emulatedSystems: readonly string[]
  readonly maxJobs: number | undefined
  readonly speedFactor: number
  readonly supportedFeatures: readonly string[] | undefined
  readonly mandatoryFeatures: readonly string[]
  /** Whether a machine has the name of the operator host. */
  readonly ambiguous: boolean
  /** The user of earlier deploys, if the definition names another one. */
  readonly former?: string
  /** Command that enters a Nix in the home of an existing user; absent for the Nix of the machine. */
  readonly wrapper?: readonly string[]
}

interface WithdrawOptions extends Account {
  readonly kind: 'withdraw'
  /** Whether the Nix belongs to an existing user, who stays after the removal. */
  readonly inHome?: true
}

type BuilderTaskOptions = OfferOptions | WithdrawOptions

/** The account with which other machines build here, and its removal. */
export const builderTask: SetupTask<BuilderTaskOptions> = {
  id: offerTask,
  title: 'builds for other machines',
  after: ['nix'],
  stage: 'offer',
  // The machines that use a builder remove it from their lists first.
  stageFor: ({ kind }) => (kind === 'offer' ? 'offer' : 'withdraw'),
  debianPackages: () => ['openssh-server'],
  wanted: wantedBuilder,
  owns: (options) =>
    isInHome(options) ? [] : [{ path: keysFile(options), instead: 'deployment.builder.for' }],
  traces: (options) =>
    options.kind === 'offer' ? { user: options.user, ...(isInHome(options) ? { in: 'home' } : {}) } : {},
  probe: probeBuilder,
  apply: (host, options, run) =>
    options.kind === 'offer' ? offer(host, options, run) : withdraw(host, options, run),
  verify: verifyBuilder,
}

function wantedBuilder(machine: TaskMachine): BuilderTaskOptions | undefined {
  const { definition, outputs } = machine
  const { builder, targetHost } = definition.options
  const user = outputs?.[offerTask]?.user ?? ''
  if (!builder.enable) {
    if (user === '') return undefined
    const inHome = outputs?.[offerTask]?.in === 'home'
    return { kind: 'withdraw', ...accountOf(user, machine), ...(inHome ? { inHome } : {}) }
  }
  return {
    kind: 'offer',
    ...accountOf(builder.sshUser, machine),
    host: builder.hostName ?? targetHost ?? definition.name,
    port: builder.port,
    systems: builder.systems ?? undefined,
    emulatedSystems: definition.options.binfmt.emulatedSystems,
    maxJobs: builder.maxJobs ?? undefined,
    speedFactor: builder.speedFactor,
    supportedFeatures: builder.supportedFeatures ?? undefined,
    mandatoryFeatures: builder.mandatoryFeatures,
    ...loginsOf(machine),
    ambiguous: isForOperator(builder) && hasOtherNamed(machine, operatorName),
    ...(builder.wrapper == null ? {} : { wrapper: builder.wrapper }),
    ...(user === '' || user === builder.sshUser ? {} : { former: user }),
  }
}

function hasOtherNamed({ definition, peers }: TaskMachine, name: string): boolean {
  return definition.name !== name && peers?.has(MachineName.parse(name)) === true
}

/**
 * Writes the keys that may log in. Their forced command is the command that Nix and Hydra send (measured), which only
 * serves the store.
 */
function keysOf({ keys }: OfferOptions): string {
  return authorizedKeys(keys, { task: offerTask, command: 'nix-store --serve --write' })
}

async function probeBuilder(host: Host, options: BuilderTaskOptions, run: Run): Promise<TaskState> {
  const home = isInHome(options)
  const facts = home ? await lookAtHome(host, options, run) : await lookAtAccount(host, options, run)
  if (options.kind === 'withdraw')
    return (home ? hasHome(facts) : hasAccount(facts, options))
      ? { drifted: 'no machine builds here any more' }
      : 'done'
  const { wrapper, user, keys } = options
  const wrong =
    wrapper === undefined
      ? accountFaults(facts, options, keysOf(options))
      : homeFaults(facts, { user, wrapper }, keys)
  if (wrong === undefined) return 'needed'
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

function isInHome(options: BuilderTaskOptions): boolean {
  return options.kind === 'offer' ? options.wrapper !== undefined : options.inHome === true
}

async function offer(host: Host, options: OfferOptions, run: Run): Promise<Record<string, string>> {
  refuseUnknown(host, options)
  for (const name of options.awaited)
    run.log(
      name === operatorName
        ? 'this host has no key for builders yet; hydra-ops deploy creates the key'
        : `machine '${name}' has no key for builders yet, so it cannot build here before its own deploy`,
    )
  const { user, wrapper, keys } = options
  if (wrapper === undefined) await makeAccount(host, options, keysOf(options), run)
  else await makeHome(host, { user, wrapper }, keys, run)
  const facts = await (wrapper === undefined ? lookAtAccount : lookAtHome)(host, options, run)
  return {
    user,
    for: [...options.keys, ...options.awaited.map((machine) => ({ machine }))]
      .map(({ machine }) => machine)
      .join(','),
    entry: offerText({
      user,
      host: options.host,
      port: options.port,
      systems: options.systems ?? [fact(facts, 'system'), ...options.emulatedSystems],
      maxJobs: options.maxJobs ?? Math.max(1, Number(fact(facts, 'cores')) || 1),
      speedFactor: options.speedFactor,
      supportedFeatures: options.supportedFeatures ?? ownFeatures(fact(facts, 'kvm') === 'yes'),
      mandatoryFeatures: options.mandatoryFeatures,
    }),
    ...(wrapper === undefined ? {} : { in: 'home' }),
  }
}

function refuseUnknown({ machine }: Host, { user, former, unknown, ambiguous, itself }: OfferOptions): void {
  if (former !== undefined)
    throw failure(
      'BUILDER_USER',
      `machine '${machine}': other machines log in as user '${former}', and deployment.builder.sshUser names '${user}'`,
      {
        machine,
        hint: `deploy once without deployment.builder, which removes the login of user '${former}', and again with the new user`,
      },
    )
  if (ambiguous)
    throw failure(
      'BUILDER_FOR',
      `machine '${machine}': deployment.builder.for names operator, which is both a machine and the host that runs hydra-ops`,
      { machine, hint: 'give the machine of this name another name' },
    )
  if (itself === true)
    throw failure('BUILDER_FOR', `machine '${machine}': deployment.builder.for names the machine itself`, {
      machine,
      hint: 'name the other machines that build there; each machine builds for itself anyway',
    })
  if (unknown.length === 0) return
  throw failure(
    'BUILDER_FOR',
    `machine '${machine}': deployment.builder.for names ${unknown.join(', ')}, and the deployment has no such machine`,
    { machine, hint: 'correct the names in deployment.builder.for' },
  )
}

async function withdraw(host: Host, options: WithdrawOptions, run: Run): Promise<Record<string, string>> {
  await (options.inHome === true ? removeHome : removeAccount)(host, options, run)
  // hydra-ops forgets the task because of this empty output.
  return { user: '', for: '', entry: '' }
}

/** Serves the store as the account does; the users of the builder prove the login itself. */
async function verifyBuilder(host: Host, options: BuilderTaskOptions, run: Run): Promise<void> {
  if (options.kind === 'withdraw') return
  const { user, wrapper } = options
  if (wrapper !== undefined) return verifyHome(host, { user, wrapper }, run)
  const question = {
    what: `serve the store as user '${options.user}'`,
    script: 'tasks/builder/verify',
    values: {
      user: options.user,
      features: [...(options.supportedFeatures ?? []), ...options.mandatoryFeatures],
    },
    hint: 'check that nix-daemon.socket is active; hydra-ops setup run nix --redo rewrites the settings of Nix',
  }
  await runScript(host, question, run)
}

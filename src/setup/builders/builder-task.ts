import { createHash } from 'node:crypto'
import { keyTask, offerTask, offerText } from '../../core/builder-offer.js'
import { failure } from '../../core/errors.js'
import type { MachineName } from '../../core/names.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskMachine, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { placeFiles } from '../../remote/place-files.js'
import { askMachine, type Facts, fact, runScript } from '../../remote/run-script.js'
import { ownFeatures } from '../hydra/config-text.js'
import { nixSocketGroup } from '../hydra/settings.js'

/** The account for logins, and the builder's abilities as the expression wants them. */
interface OfferOptions {
  readonly kind: 'offer'
  readonly user: string
  readonly home: string
  /** Whether the task makes the user; the configuration of a NixOS machine does. */
  readonly makesUser: boolean
  readonly host: string
  readonly port: number
  readonly systems: readonly string[] | undefined
  /** Systems that the machine emulates, besides its own. */
  readonly emulatedSystems: readonly string[]
  readonly maxJobs: number | undefined
  readonly speedFactor: number
  readonly supportedFeatures: readonly string[] | undefined
  readonly mandatoryFeatures: readonly string[]
  readonly keys: readonly { readonly machine: MachineName; readonly publicKey: string }[]
  /** Machines that may build here, and whose public key is not known yet. */
  readonly awaited: readonly MachineName[]
  /** Machines that may build here, and that the deployment does not have. */
  readonly unknown: readonly MachineName[]
}

interface WithdrawOptions {
  readonly kind: 'withdraw'
  readonly user: string
  readonly home: string
  readonly makesUser: boolean
}

type BuilderTaskOptions = OfferOptions | WithdrawOptions

const probeMs = 120_000

/** The account with which other machines build here, and its removal. */
export const builderTask: SetupTask<BuilderTaskOptions> = {
  id: offerTask,
  title: 'builds for other machines',
  after: ['nix'],
  stage: 'offer',
  // The users of a builder forget the builder first.
  stageFor: ({ kind }) => (kind === 'offer' ? 'offer' : 'withdraw'),
  debianPackages: () => ['openssh-server'],
  wanted: wantedBuilder,
  owns: ({ home }) => [{ path: keysFile(home), instead: 'deployment.builder.for' }],
  probe: probeBuilder,
  apply: (host, options, run) =>
    options.kind === 'offer' ? offer(host, options, run) : withdraw(host, options, run),
  verify: verifyBuilder,
}

function wantedBuilder(machine: TaskMachine): BuilderTaskOptions | undefined {
  const { definition, peers = new Map(), outputs } = machine
  const { builder, targetHost } = definition.options
  const makesUser = definition.os === 'debian'
  if (!builder.enable) {
    const user = outputs?.[offerTask]?.user ?? ''
    return user === '' ? undefined : { kind: 'withdraw', user, home: homeOf(user), makesUser }
  }
  const keys = builder.for.flatMap((name) => {
    const publicKey = peers.get(name)?.outputs[keyTask]?.publicKey
    return publicKey === undefined ? [] : [{ machine: name, publicKey }]
  })
  const unknown = builder.for.filter((name) => machine.peers !== undefined && !peers.has(name))
  return {
    kind: 'offer',
    user: builder.sshUser,
    home: homeOf(builder.sshUser),
    makesUser,
    host: builder.hostName ?? targetHost ?? definition.name,
    port: builder.port,
    systems: builder.systems ?? undefined,
    emulatedSystems: definition.options.binfmt.emulatedSystems,
    maxJobs: builder.maxJobs ?? undefined,
    speedFactor: builder.speedFactor,
    supportedFeatures: builder.supportedFeatures ?? undefined,
    mandatoryFeatures: builder.mandatoryFeatures,
    keys,
    awaited: builder.for.filter(
      (name) => !unknown.includes(name) && !keys.some(({ machine: known }) => known === name),
    ),
    unknown,
  }
}

/** Places the home outside /home, which a machine may mount from elsewhere. */
function homeOf(user: string): string {
  return `/var/lib/hydra-ops-builder/${user}`
}

function keysFile(home: string): string {
  return `${home}/.ssh/authorized_keys`
}

/**
 * Writes the keys that may log in. Each key can only serve the store, because the command replaces what the other side
 * asks for. `command=` with the very words of Nix and Hydra (measured).
 */
export function authorizedKeys(keys: OfferOptions['keys']): string {
  const lines = keys.map(
    ({ machine, publicKey }) =>
      `restrict,command="nix-store --serve --write" ${publicKey} hydra-ops:${machine}\n`,
  )
  return `# Written by hydra-ops (set-up task "builder"); changes made here are overwritten.\n${lines.join('')}`
}

async function look(host: Host, { user, home }: BuilderTaskOptions, run: Run): Promise<Facts> {
  const values = { user, home, keys: keysFile(home), group: nixSocketGroup }
  return askMachine(
    host,
    { what: 'look at the account for builds', script: 'tasks/builder/look', values, timeoutMs: probeMs },
    run,
  )
}

async function probeBuilder(host: Host, options: BuilderTaskOptions, run: Run): Promise<TaskState> {
  const facts = await look(host, options, run)
  const there = fact(facts, 'user') === 'there'
  const placed = fact(facts, 'hash')
  if (options.kind === 'withdraw')
    return (there && options.makesUser) || placed !== '-'
      ? { drifted: 'no machine builds here any more' }
      : 'done'
  if (!there || placed === '-') return 'needed'
  const wrong = [
    ...(facts.get('wrong') ?? []),
    ...(placed === sha256(authorizedKeys(options.keys)) ? [] : [`${keysFile(options.home)} differs`]),
  ]
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

async function offer(host: Host, options: OfferOptions, run: Run): Promise<Record<string, string>> {
  refuseUnknown(host, options)
  for (const name of options.awaited)
    run.log(`machine '${name}' has no key for builders yet, so it cannot build here before its own deploy`)
  const { user, home, makesUser } = options
  const account = {
    what: 'make the account for builds',
    script: 'tasks/builder/apply',
    values: { user, home, group: nixSocketGroup, makes_user: makesUser },
  }
  await runScript(host, account, run)
  const content = authorizedKeys(options.keys)
  const file = { path: keysFile(home), content, mode: 0o644, user: 'root', group: 'root' }
  await placeFiles(host, [file], { run, what: 'write the keys that may build here' })
  const facts = await look(host, options, run)
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
  }
}

function refuseUnknown({ machine }: Host, { unknown }: OfferOptions): void {
  if (unknown.length === 0) return
  throw failure(
    'BUILDER_FOR',
    `machine '${machine}': deployment.builder.for names ${unknown.join(', ')}, and the deployment has no such machine`,
    { machine, hint: 'correct the names in deployment.builder.for' },
  )
}

async function withdraw(host: Host, options: WithdrawOptions, run: Run): Promise<Record<string, string>> {
  const { user, home, makesUser } = options
  const values = { user, home, makes_user: makesUser }
  await runScript(
    host,
    { what: 'remove the account for builds', script: 'tasks/builder/remove', values },
    run,
  )
  // The task is forgotten by this empty output.
  return { user: '', for: '', entry: '' }
}

/** Serves the store as the account does; the users of the builder prove the login itself. */
async function verifyBuilder(host: Host, options: BuilderTaskOptions, run: Run): Promise<void> {
  if (options.kind === 'withdraw') return
  const question = {
    what: `serve the store as user '${options.user}'`,
    script: 'tasks/builder/verify',
    values: {
      user: options.user,
      features: [...(options.supportedFeatures ?? []), ...options.mandatoryFeatures],
    },
    hint: 'check that nix-daemon.socket is active; hydra-ops setup run nix --redo writes the settings of Nix anew',
  }
  await runScript(host, question, run)
}

import { createHash } from 'node:crypto'
import {
  builderLine,
  builderList,
  builderName,
  listProblem,
  sshSettings,
  type UsedBuilder,
} from '../../core/builder-entries.js'
import { drainFolder, useTask } from '../../core/builder-offer.js'
import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskMachine, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { type PlacedFile, placeFiles } from '../../remote/place-files.js'
import { askMachine, type Facts, fact, runScript } from '../../remote/run-script.js'
import { queueRunnerFile } from '../hydra/settings.js'
import { loginFailure } from './login-failure.js'
import { proveBuilder } from './proof.js'
import { type BuilderKey, type BuilderUse, builderUse, listFiles, otherPlaces } from './relations.js'

export interface UseOptions extends BuilderUse {
  /** Builders that `deployment.hydra.buildMachines` names already. */
  readonly listed: readonly string[]
}

const probeMs = 120_000
/** Deadline for one login; ssh itself waits 60 s for an answer, and a login on an emulated guest takes seconds. */
const loginMs = 180_000

/** File with ssh settings for builders; the system's ssh_config(5) includes the file on Debian. */
export const sshSettingsFile = '/etc/ssh/ssh_config.d/hydra-ops-builders.conf'

/** The list of builders of a machine, and the proof that each builder accepts the machine's login. */
export const buildersTask: SetupTask<UseOptions> = {
  id: useTask,
  title: 'builders of the machine',
  after: ['nix', 'hydra', 'builder-key'],
  stage: 'use',
  debianPackages: () => ['openssh-client'],
  wanted: wantedBuilders,
  owns: ({ reader }) => [
    { path: listFiles[reader], instead: 'deployment.builder on the machine that builds' },
    { path: sshSettingsFile, instead: 'a file with another name in the same folder' },
  ],
  traces: ({ builders, awaited }) => ({ builders: namesOf(builders), awaited: awaited.join(',') }),
  probe: probeBuilders,
  apply: applyBuilders,
  verify: verifyBuilders,
}

function wantedBuilders(machine: TaskMachine): UseOptions | undefined {
  const use = builderUse(machine)
  if (use === undefined) return undefined
  const { hydra } = machine.definition.options
  return { ...use, listed: hydra.enable ? hydra.buildMachines.map(({ hostName }) => hostName) : [] }
}

/** Writes the files of the machine's builders; drained builders stay drained. */
export function builderFiles(options: UseOptions, drained: ReadonlySet<string>): PlacedFile[] {
  const { reader, key, builders } = options
  const lines = builders.map((builder) =>
    builderLine(builder, { reader, keyFile: key.file, drained: drained.has(builder.machine) }),
  )
  return [
    { path: listFiles[reader], content: builderList(lines) },
    { path: sshSettingsFile, content: sshSettings(builders, useTask) },
  ].map((file) => ({ ...file, mode: 0o644, user: 'root', group: 'root' }))
}

async function look(host: Host, { reader, key }: UseOptions, run: Run): Promise<Facts> {
  const values = {
    list: listFiles[reader],
    ssh_settings: sshSettingsFile,
    drained: drainFolder,
    gateway: queueRunnerFile,
    directory: key.directory,
    other: otherPlaces(reader),
  }
  return askMachine(
    host,
    { what: 'look at the list of builders', script: 'tasks/builders/look', values, timeoutMs: probeMs },
    run,
  )
}

async function probeBuilders(host: Host, options: UseOptions, run: Run): Promise<TaskState> {
  const facts = await look(host, options, run)
  const [list = '-', ssh = '-'] = facts.get('hash') ?? []
  const other = fact(facts, 'other')
  if (options.builders.length === 0) {
    const key = fact(facts, 'traces') === 'yes' && options.awaited.length === 0
    return list === '-' && ssh === '-' && !key && other === ''
      ? 'done'
      : { drifted: 'no machine builds for this machine any more' }
  }
  if (list === '-') return 'needed'
  const [wantedList, wantedSsh] = builderFiles(options, drainedIn(facts)).map(({ content }) =>
    sha256(content),
  )
  if (list !== wantedList) return { drifted: `${listFiles[options.reader]} differs` }
  if (ssh !== wantedSsh) return { drifted: `${sshSettingsFile} differs` }
  return other === '' ? 'done' : { drifted: `the ${options.reader} does not need ${other}` }
}

function drainedIn(facts: Facts): ReadonlySet<string> {
  return new Set(facts.get('drained'))
}

function sha256(content: string | Uint8Array): string {
  return createHash('sha256').update(content).digest('hex')
}

async function applyBuilders(host: Host, options: UseOptions, run: Run): Promise<Record<string, string>> {
  const { builders, awaited } = options
  for (const name of awaited)
    run.log(`machine '${name}' does not build for this machine yet: deploy '${name}' too`)
  if (builders.length === 0) return remove(host, options, run)
  const facts = await look(host, options, run)
  if (fact(facts, 'gateway') === 'yes') throw joinsByItself(host, builders)
  refuseListed(host, options)
  const files = builderFiles(options, drainedIn(facts))
  const [list] = files
  const problem = list === undefined ? undefined : listProblem(String(list.content))
  if (problem !== undefined)
    throw failure('BUILDER_LIST', `machine '${host.machine}': the list of builders is wrong: ${problem}`, {
      machine: host.machine,
      hint: 'correct deployment.builder of that builder; the current list was not changed',
    })
  await placeFiles(host, files, { run, what: 'write the list of builders' })
  if (facts.has('other')) {
    const leave = { script: 'tasks/builders/leave', values: { other: otherPlaces(options.reader) } }
    await runScript(host, { what: 'remove the list and the key of the other program', ...leave }, run)
  }
  const marked = (kind: 'drained' | 'automatic') =>
    namesOf(builders.filter(({ machine }) => facts.get(kind)?.includes(machine) === true))
  const automatic = marked('automatic')
  return {
    builders: namesOf(builders),
    drained: marked('drained'),
    ...(automatic === '' ? {} : { automatic }),
  }
}

function namesOf(builders: readonly UsedBuilder[]): string {
  return builders.map(({ machine }) => machine).join(',')
}

/** Removes the list and, unless a builder is awaited, the key for its login. */
async function remove(
  host: Host,
  { reader, key, awaited }: UseOptions,
  run: Run,
): Promise<Record<string, string>> {
  const values = {
    list: listFiles[reader],
    ssh_settings: sshSettingsFile,
    drained: drainFolder,
    directory: awaited.length > 0 ? '' : key.directory,
    other: otherPlaces(reader),
  }
  await runScript(host, { what: 'remove the list of builders', script: 'tasks/builders/remove', values }, run)
  return awaited.length > 0 ? { builders: '', awaited: awaited.join(',') } : { builders: '' }
}

function joinsByItself({ machine }: Host, builders: readonly UsedBuilder[]): Error {
  const names = builders.map((builder) => builder.machine).join(', ')
  return failure(
    'BUILD_MACHINES',
    `machine '${machine}': ${names} cannot build for this Hydra, which connects to no builder; its builders connect to Hydra`,
    { machine, hint: 'run hydra-builder on these machines, or give the machine an older Hydra' },
  )
}

function refuseListed({ machine }: Host, { builders, listed }: UseOptions): void {
  const twice = builders.filter(({ host }) => listed.includes(host))
  if (twice.length === 0) return
  throw failure(
    'BUILDER_LIST',
    `machine '${machine}': deployment.hydra.buildMachines names ${twice.map(({ host }) => host).join(', ')}, which deployment.builder names too`,
    { machine, hint: 'remove the builder from deployment.hydra.buildMachines' },
  )
}

/** Speaks the store protocol with each builder over the same login as real builds, and then builds there. */
async function verifyBuilders(host: Host, options: UseOptions, run: Run): Promise<void> {
  if (options.builders.length === 0) return
  const facts = await look(host, options, run)
  if (fact(facts, 'unread') === 'yes') throw unread(host)
  if (options.reader === 'daemon') await requireRead(host, run)
  const drained = drainedIn(facts)
  for (const builder of options.builders) {
    const what = `log in to builder '${builder.machine}' as user '${options.key.user}'`
    const script = {
      what,
      script: 'tasks/builders/ping',
      values: loginValues(options, builder),
      timeoutMs: loginMs,
    }
    try {
      await runScript(host, script, run, () => {})
    } catch (error) {
      throw loginFailure(error, { machine: host.machine, what, builder, key: options.key })
    }
    run.log(`builder '${builder.machine}' answers as ${builderName(builder, options.reader)}`)
    if (!drained.has(builder.machine)) await proveBuilder(host, options, builder, run)
  }
}

function unread({ machine }: Host): Error {
  const list = listFiles['queue runner']
  return failure('BUILDER_LIST', `machine '${machine}': the queue runner does not read ${list}`, {
    machine,
    hint: `add the machine itself ("localhost") to deployment.hydra.buildMachines; if you define services.hydra.buildMachinesFiles yourself, add ${list} to that option`,
  })
}

/**
 * Refuses a list that the machine's Nix does not read. The proof names its builder to Nix, so the proof alone would
 * succeed.
 */
async function requireRead(host: Host, run: Run): Promise<void> {
  const list = listFiles.daemon
  const question = {
    what: 'ask Nix for its lists of builders',
    script: 'tasks/builders/reads',
    values: { list },
    timeoutMs: probeMs,
  }
  if (fact(await askMachine(host, question, run), 'reads') !== 'no') return
  throw failure('BUILDER_LIST', `machine '${host.machine}': Nix does not read ${list}`, {
    machine: host.machine,
    hint: `a NixOS machine gets the setting by a deploy, unless nix.extraOptions has a line 'builders = …': add ;@${list} to that line; a Debian machine gets the setting by hydra-ops setup run nix --redo`,
  })
}

/** Returns the values of a script that logs in to a builder. */
export function loginValues(
  { key }: { readonly key: Pick<BuilderKey, 'file' | 'user'> },
  { user, host, hostKey }: Pick<UsedBuilder, 'user' | 'host' | 'hostKey'>,
  scheme: 'ssh' | 'ssh-ng' = 'ssh',
) {
  return {
    run_as: key.user,
    scheme,
    address: `${user}@${host}`,
    key: key.file,
    host_key: Buffer.from(`${hostKey}\n`).toString('base64'),
  }
}

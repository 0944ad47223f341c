import { cacheTask, cacheUser, operatorName } from '../../core/builder-offer.js'
import type { Run } from '../../core/run.js'
import { settleAll } from '../../core/settle.js'
import type { SetupTask, TaskMachine, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact, runScript } from '../../remote/run-script.js'
import {
  applyCacheKey,
  type CacheKeyOptions,
  probeCacheKey,
  publicKeyOf,
  verifyCacheKey,
} from '../cache-key.js'
import {
  lookAtSettings,
  removeSettings,
  settingsFaults,
  signingFile,
  writeSettings,
} from '../nix-settings.js'
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

interface OfferOptions extends Account, Logins {
  readonly kind: 'offer'
  readonly key: CacheKeyOptions
}

interface WithdrawOptions extends Account {
  readonly kind: 'withdraw'
}

type CacheTaskOptions = OfferOptions | WithdrawOptions

const directory = '/etc/nix/hydra-ops-cache-key'
const secretFile = `${directory}/secret`
const publicFile = `${directory}/public`

/** File with the public key of the last signing of the whole store. */
const mark = `${directory}/signed`
/** Garbage collector root of the path with which other machines prove that they can fetch. */
const root = '/nix/var/nix/gcroots/hydra-ops-builder-cache'

/** Deadline for the signatures of a whole store; 100,000 paths take minutes. */
const signMs = 3_600_000

/**
 * The store of a builder as a cache for the machines that build there. The task sets up a signing key and a read-only
 * account.
 */
export const builderCacheTask: SetupTask<CacheTaskOptions> = {
  id: cacheTask,
  title: 'cache of the builder',
  after: ['nix', 'builder'],
  irreplaceable: 'the secret key of the cache of the builder',
  stage: 'offer',
  // The machines that use the cache forget the cache first.
  stageFor: ({ kind }) => (kind === 'offer' ? 'offer' : 'withdraw'),
  debianPackages: () => ['openssh-server'],
  wanted: wantedCache,
  owns: (options) => [
    { path: keysFile(options), instead: 'deployment.builder.for' },
    { path: signingFile, instead: 'deployment.nix.extraOptions' },
    { path: secretFile, instead: 'deployment.keys to deliver a key of your own', takesKey: true },
    { path: publicFile, instead: 'no file: the public key follows from the secret key' },
    { path: mark, instead: 'no file: hydra-ops records that it signed the store' },
  ],
  traces: ({ kind, user }) => (kind === 'offer' ? { user } : {}),
  probe: (host, options, run) =>
    options.kind === 'offer' ? probeOffer(host, options, run) : probeWithdrawal(host, options, run),
  apply: (host, options, run) =>
    options.kind === 'offer' ? offer(host, options, run) : withdraw(host, options, run),
  async verify(host, options, run) {
    if (options.kind === 'withdraw') return
    await verifyCacheKey(host, options.key, run)
    await lookAtSample(host, await publicKeyOf(host, options.key, run), run)
  },
}

function wantedCache(machine: TaskMachine): CacheTaskOptions | undefined {
  const { definition, deployment, outputs } = machine
  const { enable, cache } = definition.options.builder
  const account = accountOf(cacheUser, machine)
  if (!enable || !cache.enable) {
    const { publicKey = '', user = '' } = outputs?.[cacheTask] ?? {}
    return publicKey === '' && user === '' ? undefined : { kind: 'withdraw', ...account }
  }
  const keyName = cache.keyName ?? undefined
  const key = {
    keyName,
    newName: keyName ?? `${deployment}-${definition.name}-builder-1`,
    secretFile,
    publicFile,
    directory,
    group: 'root',
  }
  const { keys, ...logins } = loginsOf(machine)
  // The operator host builds here, but has no settings to fetch from here.
  const readers = keys.filter((each) => each.machine !== operatorName)
  return { kind: 'offer', ...account, key, keys: readers, ...logins }
}

/**
 * Writes the keys that may log in. The forced command serves the daemon's own protocol, in which the daemon distrusts
 * the user. A trusted user could change settings that run programs as root.
 */
function keysOf({ keys }: OfferOptions): string {
  return authorizedKeys(keys, { task: cacheTask, command: 'NIX_REMOTE=daemon exec nix-daemon --stdio' })
}

const settings = { file: signingFile, content: signingSettings() }

/** Writes the settings that let Nix sign. A missing key would make every build fail, so the key is created first. */
function signingSettings(): string {
  return `# Written by hydra-ops (set-up task "${cacheTask}"); changes made here are overwritten.
extra-secret-key-files = ${secretFile}
`
}

async function probeOffer(host: Host, options: OfferOptions, run: Run): Promise<TaskState> {
  const [key, account, seen, signatures] = await settleAll([
    probeCacheKey(host, options.key, run),
    lookAtAccount(host, options, run),
    lookAtSettings(host, settings, run),
    lookAtSignatures(host, run),
  ])
  if (key !== 'done') return key
  const faults = [
    ...(accountFaults(account, options, keysOf(options)) ?? [`user '${options.user}' is missing`]),
    ...settingsFaults(seen, settings),
    ...(signatures.signed === '' ? ['the paths of the store are not signed yet'] : []),
    ...(signatures.sample === '' ? ['the path for proofs is missing'] : []),
  ]
  return faults.length === 0 ? 'done' : { drifted: faults.join('; ') }
}

async function lookAtSignatures(host: Host, run: Run) {
  const question = {
    what: 'look at the signatures of the store',
    script: 'tasks/builder-cache/look',
    values: { mark, root },
  }
  const facts = await askMachine(host, question, run)
  return { signed: fact(facts, 'signed'), sample: fact(facts, 'sample') }
}

async function offer(host: Host, options: OfferOptions, run: Run): Promise<Record<string, string>> {
  const { publicKey = '' } = await applyCacheKey(host, options.key, run)
  await writeSettings(host, settings, run)
  const sign = {
    what: 'sign the paths of the store',
    script: 'tasks/builder-cache/sign',
    values: { secret: secretFile, public: publicKey, mark },
    timeoutMs: signMs,
  }
  await runScript(host, sign, run)
  const sample = await lookAtSample(host, publicKey, run)
  await makeAccount(host, options, keysOf(options), run)
  return { publicKey, sample, user: options.user }
}

/** Builds the path for proofs if it does not exist, and returns the path. A path without a signature is an error. */
async function lookAtSample(host: Host, publicKey: string, run: Run): Promise<string> {
  const question = {
    what: 'build and sign a path',
    script: 'tasks/builder-cache/sample',
    values: { public: publicKey, root },
    hint: `hydra-ops setup run nix --redo --on ${host.machine} rewrites the settings of Nix; they must include ${signingFile}`,
  }
  return fact(await askMachine(host, question, run), 'sample')
}

async function probeWithdrawal(host: Host, options: WithdrawOptions, run: Run): Promise<TaskState> {
  const [account, seen, signatures] = await settleAll([
    lookAtAccount(host, options, run),
    lookAtSettings(host, settings, run),
    lookAtSignatures(host, run),
  ])
  const gone =
    !hasAccount(account, options) &&
    seen.settings === '-' &&
    signatures.signed === '' &&
    signatures.sample === ''
  return gone ? 'done' : { drifted: 'no machine fetches from here any more' }
}

/** Removes everything except the key, because copies of paths elsewhere have its signatures. */
async function withdraw(host: Host, options: WithdrawOptions, run: Run): Promise<Record<string, string>> {
  await removeAccount(host, options, run)
  await removeSettings(host, settings, run)
  const values = { mark, root }
  await runScript(
    host,
    { what: 'remove the path for proofs', script: 'tasks/builder-cache/remove', values },
    run,
  )
  // hydra-ops forgets the task because of this empty output.
  return { publicKey: '', sample: '', user: '' }
}

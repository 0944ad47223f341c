import * as z from 'zod'

/** Observations about a build that does not finish. */
export interface Evidence {
  /** Lines of Hydra's services about this build or about no build, newest last. */
  readonly journal: string
  /** Answer to GET /queue-runner-status. */
  readonly queue: unknown
  /** Output of the jobset's evaluation. */
  readonly evaluation: string
  /** `buildstatus`, if the build has ended. */
  readonly status: number | undefined
}

/** Status from a queue runner in C++; hydra-server reports a queue runner in Rust as `unknown` or `unreachable`. */
const Flat = z.looseObject({
  status: z.string(),
  nrRunnableSteps: z.number().default(0),
  nrActiveSteps: z.number().default(0),
  nrUnsupportedSteps: z.number().default(0),
})

const Machine = z.looseObject({
  hasCapacity: z.boolean().default(true),
  stats: z.looseObject({ currentJobs: z.number().default(0) }).optional(),
})

/** Status from a queue runner in Rust (read in its source at 14332fbf). */
const Nested = z.looseObject({
  queueRunner: z.looseObject({
    status: z.string(),
    nrStepsRunnable: z.number().default(0),
    nrStepsBuilding: z.number().default(0),
    nrUnsupportedSteps: z.number().default(0),
  }),
  machines: z.record(z.string(), Machine),
})

interface Queue {
  readonly status: string
  readonly runnable: number
  readonly building: number
  readonly unsupported: number
  /** Builders that connected to the queue runner; `undefined` if the runner itself connects to builders. */
  readonly builders: readonly z.infer<typeof Machine>[] | undefined
}

function queueOf(said: unknown): Queue | undefined {
  const nested = Nested.safeParse(said).data
  if (nested !== undefined) {
    const { status, nrStepsRunnable, nrStepsBuilding, nrUnsupportedSteps } = nested.queueRunner
    const builders = Object.values(nested.machines)
    return {
      status,
      runnable: nrStepsRunnable,
      building: nrStepsBuilding,
      unsupported: nrUnsupportedSteps,
      builders,
    }
  }
  const flat = Flat.safeParse(said).data
  if (flat === undefined) return undefined
  const { status, nrRunnableSteps, nrActiveSteps, nrUnsupportedSteps } = flat
  return {
    status,
    runnable: nrRunnableSteps,
    building: nrActiveSteps,
    unsupported: nrUnsupportedSteps,
    builders: undefined,
  }
}

/** Sign of a failed copy to the cache. A queue runner in Rust still calls the build green (read in its source). */
const notCopied: readonly [RegExp, string] = [
  /nix copy to \S+ failed/,
  'the queue runner could not copy the built paths to the cache',
]

const notTrusted =
  'the Nix daemon does not trust the queue runner: trusted-users in nix.conf does not list hydra-queue-runner'

/**
 * Signs of each fault, from a Hydra that was broken on purpose; the first match counts. Signs since March 2026 were
 * read in the sources of Hydra and of harmonia, Hydra's client for the Nix daemon.
 */
const signs: readonly (readonly [RegExp, string])[] = [
  [
    /hydra-eval-jobset.*(?:No such file|status 32512)|failed to run command ‘hydra-eval-jobset’/,
    'the evaluator cannot find hydra-eval-jobset: the program is not in the PATH of the unit',
  ],
  [
    /cannot connect to socket at '[^']*daemon-socket/,
    'a service is not allowed to use the socket of the Nix daemon: its user is not in the group nix-users',
  ],
  [
    /failure building ‘[^’]*’ on ‘(?!localhost’)[^’]*’:[^\n]*unexpected end-of-file/,
    'a builder closes the connection, because its Nix daemon does not trust the user of Hydra, or its disk is full; see the journal of the builder',
  ],
  [/unexpected end-of-file|you are not privileged to build/, notTrusted],
  [
    /unsupported version 1\.\d+/,
    'the Nix daemon of the machine is too old for this Hydra; Nix 2.20 or newer is required (Debian 12 has 2.8); use an older Hydra or a newer Debian',
  ],
  [/API version mismatch: client has/, 'hydra-builder and hydra-queue-runner are not of the same version'],
  [
    /opening file '[^']*(?:secret|\.sec)[^']*': Permission denied/,
    'the queue runner cannot read the secret key of the cache: the key needs the group hydra and the mode 0640',
  ],
  [
    /(?:cannot unlink|opening file|creating directory|opening lock file) '[^']*(?:cache|\.nar)[^']*': Permission denied/,
    'hydra-queue-runner cannot write to the cache: that user must own the folder of the cache',
  ],
  [
    /session_data[^\n]*Permission denied/,
    'hydra-server cannot write to /var/lib/hydra/www: that folder must belong to hydra-www',
  ],
  [/No space left on device/, 'the machine has no disk space left'],
  [/Failed at step NAMESPACE/, 'a unit cannot start, because a folder of its ReadWritePaths does not exist'],
  [
    /role "\w+" does not exist/,
    'the database server lacks the role of a service: the role was renamed, or a new version of PostgreSQL runs with an empty data folder',
  ],
  [
    /(?:Peer authentication failed|could not connect to server|connection to server on socket)/,
    'a service cannot log in to the database',
  ],
  [
    /null context when constructing CivetServer/,
    'the queue runner cannot listen on its metrics port, because another program uses it (127.0.0.1:9198 or queue_runner_metrics_address of extraConfig)',
  ],
  [
    /ARRAY\(0x[0-9a-f]+\)/,
    'hydra.conf has an option twice: a file that extraConfig includes repeats an option that hydra-ops sets; move that option to extraConfig itself',
  ],
  notCopied,
]

/**
 * Finds the cause in the lines of the services. `ofBuild` limits the causes to those that keep a build from turning
 * green.
 */
export function causeIn(text: string, { ofBuild }: { readonly ofBuild: boolean }): string | undefined {
  return signs.find((sign) => !(ofBuild && sign === notCopied) && sign[0].test(text))?.[1]
}

const noBuilderOffers = 'no builder offers the system of the build: see deployment.hydra.buildMachines'
const ends: Readonly<Record<number, string>> = {
  1: 'the build itself failed',
  2: 'a dependency of the build failed',
  3: 'the build was aborted, because its inputs were not available',
  4: 'the build was cancelled',
  7: 'the build took too long',
  9: noBuilderOffers,
}

/** Explains in one sentence why a build does not turn green. */
export function diagnose(evidence: Evidence): string {
  const { evaluation, journal, status } = evidence
  const cause = causeIn(`${evaluation}\n${journal}`, { ofBuild: true })
  if (cause !== undefined) return cause
  const queue = queueOf(evidence.queue)
  if (queue?.status === 'down' || queue?.status === 'unreachable') return 'the queue runner is down'
  if (evaluation !== '') return `the evaluation of the build failed: ${firstLines(evaluation)}`
  const why = queue === undefined ? undefined : stuck(queue)
  // The queue explains only a build that has not ended.
  const end = status === undefined ? why : ends[status]
  return end ?? 'the build did not run, and the cause is unknown'
}

/** Explains why builds wait although none is running. */
function stuck({ runnable, building, unsupported, builders }: Queue): string | undefined {
  if (builders?.length === 0)
    return 'no builder is connected to the queue runner: journalctl -u hydra-builder shows more'
  if (unsupported > 0) return noBuilderOffers
  if (runnable === 0 || building > 0) return undefined
  if (builders?.every(({ hasCapacity, stats }) => !hasCapacity && stats?.currentJobs === 0))
    return 'builds are queued, but the builder accepts none: less than a tenth of the disk is free'
  return 'builds are queued, but none runs: no builder offers their system and features (deployment.hydra.buildMachines)'
}

function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 3).join(' ').slice(0, 400)
}

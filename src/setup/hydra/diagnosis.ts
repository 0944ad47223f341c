import * as z from 'zod'

/** What can be seen of a build that does not come to its end. */
export interface Evidence {
  /** Of Hydra's services, newest last. */
  readonly journal: string
  /** GET /queue-runner-status. */
  readonly queue: unknown
  /** What the evaluation of the jobset said. */
  readonly evaluation: string
  /** `buildstatus`, when the build has ended. */
  readonly status: number | undefined
}

const Queue = z.looseObject({
  status: z.string().optional(),
  nrRunnableSteps: z.number().default(0),
  nrActiveSteps: z.number().default(0),
  nrUnsupportedSteps: z.number().default(0),
})

/** What each fault looked like on a Hydra that was broken on purpose; the first that fits is named. */
const signs: readonly (readonly [RegExp, string])[] = [
  [
    /hydra-eval-jobset.*(?:No such file|status 32512)|failed to run command ‘hydra-eval-jobset’/,
    'the evaluator does not find hydra-eval-jobset: the bin of its package is not on the PATH of its unit',
  ],
  [
    /cannot connect to socket at '[^']*daemon-socket/,
    'a service may not use the socket of the Nix daemon: its user is not in the group nix-users',
  ],
  [
    /unexpected end-of-file/,
    'the Nix daemon does not trust the queue runner: hydra-queue-runner is missing in trusted-users of nix.conf',
  ],
  [
    /opening file '[^']*(?:secret|\.sec)[^']*': Permission denied/,
    'the queue runner cannot read the secret key of the cache: it must belong to the group hydra, mode 0640',
  ],
  [
    /(?:cannot unlink|opening file|creating directory|opening lock file) '[^']*(?:cache|\.nar)[^']*': Permission denied/,
    'the cache cannot be written by hydra-queue-runner, whose folder it must be',
  ],
  [/No space left on device/, 'there is no room left on the machine'],
  [
    /Failed at step NAMESPACE/,
    'a folder that a unit writes to does not exist (ReadWritePaths), so that the unit cannot start',
  ],
  [
    /(?:Peer authentication failed|role "\w+" does not exist|could not connect to server|connection to server on socket)/,
    'a service does not get into the database',
  ],
]

const unsupported = 9
const ends: Readonly<Record<number, string>> = {
  1: 'the build itself failed',
  2: 'a build that it depends on failed',
  3: 'the build was aborted: what it needed could not be had',
  4: 'somebody cancelled the build',
  7: 'the build took too long',
  9: 'no builder offers its system',
}

/** Why a build does not turn green, in one sentence. */
export function diagnose(evidence: Evidence): string {
  const queue = Queue.safeParse(evidence.queue).data
  const text = `${evidence.evaluation}\n${evidence.journal}`
  const sign = signs.find(([pattern]) => pattern.test(text))
  if (sign !== undefined) return sign[1]
  if (queue?.status === 'down') return 'the queue runner is down'
  if (evidence.evaluation !== '') return `its evaluation failed: ${firstLines(evidence.evaluation)}`
  if (evidence.status === unsupported || (queue?.nrUnsupportedSteps ?? 0) > 0)
    return 'no builder offers its system: see deployment.hydra.buildMachines'
  if ((queue?.nrRunnableSteps ?? 0) > 0 && queue?.nrActiveSteps === 0)
    return 'builds are queued and none is running: no builder offers their system and features (deployment.hydra.buildMachines)'
  const end = evidence.status === undefined ? undefined : ends[evidence.status]
  return end ?? 'it was not built, and nothing says why'
}

function firstLines(text: string): string {
  return text.trim().split('\n').slice(0, 3).join(' ').slice(0, 400)
}

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { diagnose, type Evidence } from '../../../src/setup/hydra/diagnosis.js'

const recorded = (name: string) => readFileSync(`test/fixtures/hydra-journals/${name}`, 'utf8')
const nothing: Evidence = { journal: '', queue: {}, evaluation: '', status: undefined }

/** Returns a Rust queue runner's status as hydra-server passes it on. */
const newer = (queueRunner: Record<string, unknown>, machine: Record<string, unknown>) => ({
  queueRunner: { status: 'up', ...queueRunner },
  machines: { ci: { systems: ['x86_64-linux'], ...machine } },
})

describe('the cause of a build that does not turn green', () => {
  it.each<[string, Partial<Evidence>, RegExp]>([
    [
      'the queue runner is not trusted (recorded)',
      { journal: recorded('runner-not-trusted.txt') },
      /trusted-users/,
    ],
    [
      'the cache has another owner (recorded)',
      { journal: recorded('cache-wrong-owner.txt') },
      /hydra-queue-runner cannot write to the cache/,
    ],
    [
      'the queue runner is down (recorded)',
      { queue: JSON.parse(recorded('queue-runner-down.json')) },
      /is down/,
    ],
    [
      'the evaluator may not use the socket',
      {
        evaluation: "cannot connect to socket at '/nix/var/nix/daemon-socket/socket': Permission denied",
      },
      /nix-users/,
    ],
    [
      'the key cannot be read',
      { journal: "error: opening file '/etc/nix/ci/secret': Permission denied" },
      /secret key/,
    ],
    [
      'nobody builds it',
      { queue: { status: 'up', nrRunnableSteps: 1, nrActiveSteps: 0 } },
      /no builder offers/,
    ],
    [
      'no builder came (since March 2026)',
      { queue: { queueRunner: { status: 'up', nrStepsRunnable: 1 }, machines: {} } },
      /no builder is connected/,
    ],
    [
      'its builder has another system (since March 2026)',
      { queue: newer({ nrStepsRunnable: 1 }, { hasCapacity: true }) },
      /no builder offers/,
    ],
    [
      'the disk of its builder is nearly full (since March 2026)',
      { queue: newer({ nrStepsRunnable: 1 }, { hasCapacity: false, stats: { currentJobs: 0 } }) },
      /tenth of the disk/,
    ],
    [
      'its builder is busy (since March 2026)',
      { queue: newer({ nrStepsRunnable: 1, nrStepsBuilding: 1 }, { hasCapacity: false }) },
      /the cause is unknown/,
    ],
    ['the queue runner does not answer (since March 2026)', { queue: { status: 'unreachable' } }, /is down/],
    [
      'the daemon is too old (since June 2026)',
      { journal: 'Build of x.drv failed with: Preparing failure: unsupported version 1.34' },
      /Nix 2\.20 or newer/,
    ],
    [
      'the builder is not trusted',
      { journal: 'error: you are not privileged to build input-addressed derivations' },
      /trusted-users/,
    ],
    [
      'builder and queue runner differ',
      { journal: 'API version mismatch: client has 1, server has 2' },
      /not of the same version/,
    ],
    [
      'it fails itself, while nobody builds another one',
      { status: 1, queue: { status: 'up', nrRunnableSteps: 3, nrUnsupportedSteps: 2 } },
      /the build itself failed/,
    ],
    ['its system is unknown', { status: 9 }, /no builder offers the system of the build/],
    ['the folder of the cache is gone', { journal: 'Failed at step NAMESPACE spawning x' }, /ReadWritePaths/],
    ['the disk is full', { journal: 'write error: No space left on device' }, /no disk space left/],
    [
      'the database is closed',
      { journal: 'FATAL:  Peer authentication failed for user "hydra"' },
      /database/,
    ],
    [
      'the role is missing, as in the empty data folder of a new PostgreSQL',
      { journal: 'DBI connect failed: FATAL:  role "hydra" does not exist' },
      /a new version of PostgreSQL runs with an empty data folder/,
    ],
    [
      'the folder of hydra-server has another owner',
      { journal: 'Caught exception: /var/lib/hydra/www/session_data failed: Permission denied at Hydra.pm' },
      /\/var\/lib\/hydra\/www: that folder must belong to hydra-www/,
    ],
    [
      'the evaluator has not its program on the PATH',
      { journal: 'failed to run command ‘hydra-eval-jobset’: No such file or directory' },
      /cannot find hydra-eval-jobset/,
    ],
    [
      'the evaluator has not its program on the PATH, by the status of the shell',
      { journal: 'evaluation of jobset ‘a:b (jobset#1)’ by hydra-eval-jobset failed with status 32512' },
      /cannot find hydra-eval-jobset/,
    ],
    [
      'another builder closes the connection',
      {
        journal:
          'possibly transient failure building ‘/nix/store/x.drv’ on ‘nix@b1’: error: unexpected end-of-file',
      },
      /a builder closes the connection/,
    ],
    [
      'the port of the figures is taken',
      {
        journal:
          'Starting the Prometheus exporter on 127.0.0.1:9198\nerror: null context when constructing CivetServer. Possible problem binding to port.',
      },
      /metrics port, because another program uses it \(127\.0\.0\.1:9198/,
    ],
    [
      'an included file repeats an option',
      { journal: 'sending to ARRAY(0x55d0c8a3e2f0): no such store' },
      /hydra\.conf has an option twice/,
    ],
    ['the expression is wrong', { evaluation: 'error: undefined variable' }, /undefined variable/],
    ['the build fails', { status: 1 }, /the build itself failed/],
    ['nothing is seen', {}, /the cause is unknown/],
  ])('is reported: %s', (_, seen, why) => {
    expect(diagnose({ ...nothing, ...seen })).toMatch(why)
  })
})

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { diagnose, type Evidence } from '../../../src/setup/hydra/diagnosis.js'

const recorded = (name: string) => readFileSync(`test/fixtures/hydra-journals/${name}`, 'utf8')
const nothing: Evidence = { journal: '', queue: {}, evaluation: '', status: undefined }

describe('why a build does not turn green', () => {
  it.each<[string, Partial<Evidence>, RegExp]>([
    [
      'the queue runner is not trusted (recorded)',
      { journal: recorded('runner-not-trusted.txt') },
      /trusted-users/,
    ],
    [
      'the cache has another owner (recorded)',
      { journal: recorded('cache-wrong-owner.txt') },
      /cache cannot be written/,
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
    ['its system is unknown', { status: 9 }, /no builder offers its system/],
    ['the folder of the cache is gone', { journal: 'Failed at step NAMESPACE spawning x' }, /ReadWritePaths/],
    ['the disk is full', { journal: 'write error: No space left on device' }, /no room/],
    [
      'the database is closed',
      { journal: 'FATAL:  Peer authentication failed for user "hydra"' },
      /database/,
    ],
    ['the expression is wrong', { evaluation: 'error: undefined variable' }, /undefined variable/],
    ['the build fails', { status: 1 }, /the build itself failed/],
    ['nothing is seen', {}, /nothing says why/],
  ])('is told: %s', (_, seen, why) => {
    expect(diagnose({ ...nothing, ...seen })).toMatch(why)
  })
})

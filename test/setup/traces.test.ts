import { describe, expect, it } from 'vitest'
import { MachineName } from '../../src/core/names.js'
import { bindTask, type TaskMachine, type WantedTask } from '../../src/core/setup-task.js'
import { autoUpdateTask } from '../../src/setup/auto-update.js'
import { builderTask } from '../../src/setup/builders/builder-task.js'
import { buildersTask } from '../../src/setup/builders/builders-task.js'
import { builderCacheTask } from '../../src/setup/builders/cache-task.js'
import { builderCachesTask } from '../../src/setup/builders/caches-task.js'
import { peersOffering, subject } from '../fakes/builder-peers.js'
import { debianMachine } from '../fakes/debian-machine.js'

const web = MachineName.parse('web')
const source = { url: 'https://hydra.example.org', project: 'infra', jobset: 'main' }
const wrapper = ['/home/alice/bin/enter']

type Bind = (machine: TaskMachine) => WantedTask | undefined

/** Tasks whose results go with their option: the options that want the task, and whether another machine offers it. */
const removable: readonly (readonly [string, Bind, Record<string, unknown>, boolean])[] = [
  ['an automatic update', bindTask(autoUpdateTask), { autoUpdate: { enable: true, ...source } }, false],
  ['a builder', bindTask(builderTask), { builder: { enable: true, for: ['ci'] } }, false],
  [
    'a builder in a home',
    bindTask(builderTask),
    { builder: { enable: true, for: ['ci'], sshUser: 'alice', wrapper } },
    false,
  ],
  [
    'the cache of a builder',
    bindTask(builderCacheTask),
    { builder: { enable: true, for: ['ci'], cache: { enable: true } } },
    false,
  ],
  ['the list of builders', bindTask(buildersTask), {}, true],
  ['the caches of builders', bindTask(builderCachesTask), {}, true],
]

describe.each(removable)('the traces of %s that was interrupted', (_, bind, options, isOffered) => {
  const wanted = (more: Record<string, unknown>, offered: boolean, outputs = {}) =>
    bind(subject({ ...debianMachine(more), name: web }, outputs, offered ? peersOffering(web) : new Map()))

  it('are known before the task runs, and suffice for their removal', () => {
    const task = wanted(options, isOffered)
    if (task === undefined) throw new Error('the task is not wanted')
    expect(Object.values(task.traces ?? {}).filter((value) => value !== '')).not.toEqual([])
    const removal = wanted({}, false, { [task.id]: task.traces })
    expect(removal?.id).toBe(task.id)
    expect(Object.values(removal?.traces ?? {}).filter((value) => value !== '')).toEqual([])
  })

  it('are needed for it: a machine without them has nothing to remove', () => {
    expect(wanted({}, false)).toBeUndefined()
  })
})

import { offerTask } from '../../src/core/builder-offer.js'
import { MachineName } from '../../src/core/names.js'
import type { TaskMachine, WantedTask } from '../../src/core/setup-task.js'
import { b1Offer } from './builder-peers.js'
import { fakeTask } from './fake-task.js'

/** The set-up tasks of one builder and of one machine that builds there, without their scripts. */
export function fakeBuilderTasks(
  name: string,
  user: string,
  markNow: () => 'none' | 'automatic' | 'manual' = () => 'none',
): ((machine: TaskMachine) => WantedTask | undefined)[] {
  const builder = MachineName.parse(name)
  return [
    fakeTask('builder', {
      stage: 'offer',
      wanted: ({ definition }) => (definition.name === builder ? {} : undefined),
      probe: async () => 'done',
      apply: async () => ({ user: 'nix-builder', for: user, entry: b1Offer }),
    }),
    fakeTask('builders', {
      stage: 'use',
      wanted: ({ definition, peers }) => {
        const { hostKey, outputs } = peers?.get(builder) ?? {}
        return definition.name === user ? { hostKey, offer: outputs?.[offerTask]?.entry } : undefined
      },
      probe: async () => 'done',
      apply: async (_, options) => {
        const builders = 'offer' in options && options.offer !== undefined ? name : ''
        const marked = (when: boolean) => (when ? builders : '')
        const mark = markNow()
        return { builders, drained: marked(mark !== 'none'), automatic: marked(mark === 'automatic') }
      },
    }),
  ]
}

import { expect, it } from 'vitest'
import { setupTasks } from '../../src/setup/tasks.js'
import { debianMachine } from '../fakes/debian-machine.js'
import { readDocument } from './documents.js'
import { headings } from './markdown.js'

/** A machine that wants all there is. */
const machine = {
  definition: debianMachine({
    cacheKey: { enable: true },
    hydra: {
      enable: true,
      cache: { enable: true },
      nixServe: { enable: true },
      nginx: { enable: true },
      admin: { userName: 'alice', password: { generate: true } },
    },
  }),
  deployment: 'lab',
  publishedPort: () => undefined,
}
const wanted = setupTasks.map((bind) => bind(machine))

it('no set-up task is left out here', () => {
  expect(wanted.filter((task) => task === undefined)).toEqual([])
})

it('every set-up task has its part in how-it-works.md, with its title', () => {
  const parts = new Set(headings(readDocument('docs/how-it-works.md')))
  const missing = wanted.flatMap((task) => {
    const heading = `\`${task?.id}\`: ${task?.title}`
    return parts.has(heading) ? [] : [heading]
  })
  expect(missing).toEqual([])
})

it('what a set-up task needs of Debian is said there', () => {
  const text = readDocument('docs/how-it-works.md')
  const packages = [...new Set(wanted.flatMap((task) => task?.packages ?? []))]
  expect(packages.filter((name) => !text.includes(`\`${name}\``))).toEqual([])
})

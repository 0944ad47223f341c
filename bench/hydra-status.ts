import { serveHydra } from '../test/fakes/served-hydra.js'
import { type Comparison, inTurns } from './measure.js'
import { cli, operatorHost } from './operator-host.js'

const turns = 3

/**
 * Compares `hydra status` for a jobset with many jobs to a bare Node that reads the same pages. A tenth of the
 * jobs failed.
 */
export async function hydraStatusCost(count = 500): Promise<Comparison[]> {
  const host = operatorHost()
  const now = Math.floor(Date.now() / 1_000)
  const jobs = Object.fromEntries(
    Array.from({ length: count }, (_, index) => [
      `job-${index}`,
      { id: index + 1, status: index % 10 === 0 ? 1 : 0 },
    ]),
  )
  const hydra = await serveHydra([
    {
      id: 1,
      timestamp: now,
      jobs: { ...jobs, release: { id: count + 1, status: 1, parts: Object.keys(jobs) } },
    },
  ])
  const { model } = hydra
  model.pages.set('/queue-runner-status', { body: { status: 'up', machines: {}, machineTypes: {} } })
  model.pages.set('/queue', { body: [] })
  model.pages.set('/status', { body: [] })
  model.pages.set('/api/jobsets?project=infra', {
    body: [
      {
        name: 'main',
        project: 'infra',
        nrsucceeded: count * 0.9,
        nrfailed: count * 0.1,
        nrscheduled: 0,
        nrtotal: count,
      },
    ],
  })
  model.pages.set('/jobset/infra/main/errors', { body: { name: 'main', project: 'infra', errormsg: '' } })
  try {
    const ask = () =>
      host.program(process.execPath, [cli, 'hydra', 'status', 'infra:main', '--url', model.url])
    model.asked.length = 0
    await ask()
    const pages = [...new Set(model.asked)].map((path) => `${model.url}${path}`)
    const program = `await Promise.all(${JSON.stringify(pages)}.map(async (page) => JSON.parse(await (await fetch(page, { headers: { accept: 'application/json' }, redirect: 'manual' })).text() || '0')).map((each) => each.catch(() => 0)))`
    const bare = () => host.program(process.execPath, ['--input-type=module', '-e', program])
    const { ms, floorMs } = await inTurns(turns, ask, bare)
    return [
      {
        what: `hydra status of a jobset with ${count} jobs, ${pages.length} pages`,
        ms,
        floor: 'node that reads these pages',
        floorMs,
        budget: '≤ 3 × floor',
        kept: ms <= 3 * floorMs,
      },
    ]
  } finally {
    await hydra.close()
    host.dispose()
  }
}

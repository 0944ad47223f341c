import { type Comparison, table } from './measure.js'

const benchmarks: Readonly<Record<string, () => Promise<() => Promise<Comparison[]>>>> = {
  'start-up': async () => (await import('./start-up.js')).startUp,
  evaluation: async () => (await import('./evaluation.js')).evaluation,
  deploy: async () => (await import('./unchanged-deploy.js')).unchangedDeploy,
  guest: async () => (await import('./guest-start.js')).guestStart,
}

/** A table of its own, of what has no floor to be compared with; only when it is asked for: it takes long. */
const stages = 'hydra'

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !(name in benchmarks) && name !== stages)
if (unknown.length > 0) {
  console.error(
    `no benchmark is called ${unknown.join(', ')}; there are: ${[...Object.keys(benchmarks), stages].join(', ')}`,
  )
  process.exit(2)
}

const rows: Comparison[] = []
for (const [name, load] of Object.entries(benchmarks)) {
  if (asked.length > 0 && !asked.includes(name)) continue
  console.error(`measuring: ${name}`)
  const measure = await load()
  rows.push(...(await measure()))
}
if (rows.length > 0) console.log(table(rows))
if (asked.includes(stages)) {
  console.error(`measuring: ${stages}`)
  console.log(await (await import('./hydra-stages.js')).hydraStages())
}

import { type Comparison, table } from './measure.js'

const benchmarks: Readonly<Record<string, () => Promise<() => Promise<Comparison[]>>>> = {
  'start-up': async () => (await import('./start-up.js')).startUp,
  evaluation: async () => (await import('./evaluation.js')).evaluation,
  deploy: async () => (await import('./unchanged-deploy.js')).unchangedDeploy,
  'from-hydra': async () => {
    const { unchangedFromHydra } = await import('./unchanged-deploy.js')
    const { hydraStatusCost } = await import('./hydra-status.js')
    return async () => [...(await unchangedFromHydra()), ...(await hydraStatusCost())]
  },
  guest: async () => (await import('./guest-start.js')).guestStart,
}

/** Benchmarks that format their own tables. Each takes a long time, and runs only when named. */
const tables: Readonly<Record<string, () => Promise<() => Promise<string>>>> = {
  state: async () => (await import('./state.js')).stateCosts,
  hydra: async () => (await import('./hydra-stages.js')).hydraStages,
  nixos: async () => {
    const { nixosEvaluation } = await import('./nixos-evaluation.js')
    const { unchangedNixos } = await import('./unchanged-deploy.js')
    return async () => `${await nixosEvaluation()}\n\n${table(await unchangedNixos())}`
  },
}

const asked = process.argv.slice(2)
const unknown = asked.filter((name) => !(name in benchmarks) && !(name in tables))
if (unknown.length > 0) {
  console.error(
    `no benchmark is called ${unknown.join(', ')}; there are: ${[...Object.keys(benchmarks), ...Object.keys(tables)].join(', ')}`,
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
for (const [name, load] of Object.entries(tables)) {
  if (!asked.includes(name)) continue
  console.error(`measuring: ${name}`)
  const measure = await load()
  console.log(await measure())
}

/**
 * This program fills the small disk at the path in its argument, and tries operations of the store. It prints the
 * results.
 */
import { closeSync, existsSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { OpsError } from '../../src/core/errors.js'
import { DeploymentName, MachineName } from '../../src/core/names.js'
import { machineRecord } from './machine-record.js'
import { storeIn } from './open-store.js'

const disk = process.argv[2] ?? ''
const filler = join(disk, 'filler')
const operator = { user: 'alice', host: 'build1', command: 'test', run: 'run' }
const store = await storeIn(join(disk, 'state'), { operator })
const named = (name: string) => ({
  name: DeploymentName.parse(name),
  expressions: [],
  searchPath: [],
  args: {},
})
const { uuid } = await store.create(named('lab'))
const folder = store.paths(uuid).root

/** Takes every free block. */
function fill(): void {
  const fd = openSync(filler, 'a')
  try {
    for (const size of [4096, 1]) writeUntilFull(fd, Buffer.alloc(size))
  } finally {
    closeSync(fd)
  }
}

function writeUntilFull(fd: number, block: Buffer): void {
  try {
    for (;;) writeSync(fd, block)
  } catch {}
}

/** Runs an action; prints its outcome, and whether state, backup and journal are unchanged. */
async function attempt(what: string, action: () => unknown): Promise<void> {
  const files = ['state.json', 'state.json.bak', 'journal.ndjson'].map((name) => join(folder, name))
  const before = files.map((file) => readFileSync(file, 'utf8'))
  const error = await ended(action)
  const intact = files.every((file, index) => readFileSync(file, 'utf8') === before[index])
  const left = readdirSync(disk, { recursive: true }).filter((name) => String(name).endsWith('.tmp'))
  process.stdout.write(`${JSON.stringify({ what, ...error, intact, left })}\n`)
}

async function ended(action: () => unknown): Promise<object> {
  try {
    await action()
    return { code: 'done' }
  } catch (error) {
    if (!(error instanceof OpsError)) throw error
    const { code, exitCode, message, hint } = error
    return { code, exitCode, message, hint }
  }
}

const web = MachineName.parse('web')
const large = 'x'.repeat(20_000)
await store.lock(uuid, async (held) => {
  const update = () => held.putMachine(web, machineRecord({ handle: large }))
  const journal = () => held.journal({ event: 'large', data: large })
  await held.updateDeployment((draft) => Object.assign(draft, { description: 'the last good one' }))
  await held.journal({ event: 'begin' })
  fill()
  await attempt('update', update)
  await attempt('journal', journal)
  await attempt('create', () => store.create(named('prod')))
  await attempt('preferences', () => store.setPreferences({ deployment: 'lab' }))
})
fill()
await attempt('lock', () => store.lock(uuid, async () => {}))
const listed = (await store.list()).map((record) => [record.name, record.description])
const locked = existsSync(join(folder, 'lock'))
const events = (await store.history(uuid)).map((entry) => entry.event)
process.stdout.write(`${JSON.stringify({ listed, locked, events })}\n`)

rmSync(filler)
await store.lock(uuid, async (held) => {
  await held.journal({ event: 'room again' })
  await held.putMachine(web, machineRecord({ handle: large }))
})
const machines = Object.keys((await store.resolve('lab')).machines)
process.stdout.write(
  `${JSON.stringify({ machines, events: (await store.history(uuid)).map((entry) => entry.event) })}\n`,
)

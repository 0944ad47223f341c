import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { largeState } from '../../state/state-file.js'
import { machineRecord } from './machine-record.js'
import {
  createLab,
  errorOf,
  snapshot,
  stateFile,
  type TestStore,
  temporaryStore,
  web,
} from './temporary-store.js'

/** A deployment with a good backup whose state file `damage` then treats. */
async function damaged(
  damage: (file: string) => void,
  description = 'the newest',
): Promise<{ store: TestStore; file: string; uuid: string }> {
  const store = await temporaryStore()
  const record = await createLab(store)
  await store.lock(record.uuid, async (held) => {
    await held.putMachine(web, machineRecord())
    await held.updateDeployment((draft) => Object.assign(draft, { description }))
  })
  const file = stateFile(store, record)
  damage(file)
  return { store, file, uuid: record.uuid }
}

const change = (file: string, from: string, to: string) =>
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to))

const mendable: [string, (file: string) => void, RegExp][] = [
  [
    'truncated',
    (file) => writeFileSync(file, readFileSync(file, 'utf8').slice(0, 80)),
    /is damaged: .*cut off/,
  ],
  ['empty', (file) => writeFileSync(file, ''), /is damaged: .*it is empty/],
  ['not JSON', (file) => writeFileSync(file, '\0\0\0\0'), /is damaged: .*not JSON/],
  ['no state file', (file) => writeFileSync(file, '{"name": "left-pad"}'), /is damaged: .*not a state file/],
  ['deleted', (file) => rmSync(file), /is missing: /],
  ['of wrong types', (file) => change(file, '"index": 1', '"index": "one"'), /machines\.web\.index: /],
  [
    'with fields that nobody knows',
    (file) => change(file, '"index"', '"indices": 3, "index"'),
    /[Uu]nrecognized key/,
  ],
  [
    'of a machine that is no host name',
    (file) => change(file, '"web":', '"we b":'),
    /machines\.we b: Invalid key/,
  ],
]

const sizes = [
  ['a state file', undefined],
  ['a state file as large as that of many machines', 'x'.repeat(largeState)],
] as const

describe.each(sizes)('%s', (_size, description) => {
  it.each(mendable)(
    'that is %s is refused with the command that puts the backup back',
    async (_, damage, message) => {
      const { store, file, uuid } = await damaged(damage, description)
      const before = snapshot(store.root)
      const refused = {
        name: 'OpsError',
        exitCode: 1,
        message: expect.stringMatching(message),
        hint: expect.stringContaining(`cp -p ${file}.bak ${file}`),
      }
      for (const reference of ['lab', uuid, uuid.slice(0, 8), undefined]) {
        expect(await errorOf(() => store.resolve(reference))).toMatchObject(refused)
      }
      const [record] = await store.list()
      expect(record).toBeUndefined()
      expect(await store.problems()).toEqual([expect.objectContaining(refused)])
      expect(
        await errorOf(async () => store.lock((await store.resolve('lab')).uuid, async () => {})),
      ).toMatchObject(refused)
      expect(snapshot(store.root)).toEqual(before)
    },
  )
})

describe('a state file', () => {
  it('is as good as before after that command', async () => {
    const { store, file } = await damaged((path) => writeFileSync(path, 'cut o'))
    writeFileSync(file, readFileSync(`${file}.bak`))
    expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
    expect(await store.problems()).toEqual([])
  })

  it('without a good backup is refused all the same, and says so', async () => {
    const { store, file, uuid } = await damaged((path) => {
      writeFileSync(path, 'cut o')
      writeFileSync(`${path}.bak`, 'cut o')
    })
    for (const reference of ['lab', uuid, undefined]) {
      expect(await errorOf(() => store.resolve(reference))).toMatchObject({
        exitCode: 1,
        message: expect.stringContaining(file),
        hint: expect.stringContaining('no good backup'),
      })
    }
  })

  it('of a newer schema is refused without offering the older backup', async () => {
    const { store } = await damaged((file) => change(file, '"schemaVersion": 2', '"schemaVersion": 99'))
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      code: 'STATE_NEWER',
      exitCode: 1,
      message: expect.stringMatching(/newer hydra-ops \(schema 99, this one knows 2\)/),
      hint: expect.not.stringContaining('cp '),
    })
  })

  it('that cannot be read is refused with the reason', async () => {
    const { store, file } = await damaged((path) => {
      rmSync(path)
      mkdirSync(path)
    })
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/cannot read the state of deployment 'lab' .*: it is a folder$/),
      hint: `look at it: ls -ld ${file}`,
    })
  })

  it('of another deployment is not taken for this one’s', async () => {
    const { store, uuid } = await damaged((file) => {
      const text = readFileSync(file, 'utf8')
      writeFileSync(file, text.replace(/"uuid": ".{8}/, '"uuid": "00000000'))
    })
    expect(await errorOf(() => store.resolve(uuid))).toMatchObject({
      message: expect.stringMatching(/the state of another deployment, 00000000-/),
    })
  })

  it('that is damaged does not stop work on another deployment', async () => {
    const { store, file } = await damaged((path) => writeFileSync(path, 'cut o'))
    const other = await createLab(store, 'prod')
    expect((await store.resolve('prod')).uuid).toBe(other.uuid)
    await store.lock(other.uuid, async (held) => held.journal({ event: 'deploy.begin' }))
    expect(existsSync(file)).toBe(true)
  })
})

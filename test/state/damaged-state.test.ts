import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'
import { largeState } from '../../state/state-file.js'
import { machineRecord } from './machine-record.js'
import {
  createLab,
  errorOf,
  fileSnapshot,
  machineFile,
  stateFile,
  type TestStore,
  temporaryStore,
  web,
} from './temporary-store.js'

interface Damaged {
  readonly store: TestStore
  readonly file: string
  readonly uuid: string
}

/** Creates a deployment with a good backup of each file; `damage` changes one file. */
async function damaged(
  damage: (file: string) => void,
  {
    of = 'deployment',
    description = 'the newest',
  }: { of?: 'deployment' | 'machine'; description?: string } = {},
): Promise<Damaged> {
  const store = await temporaryStore()
  const record = await createLab(store)
  await store.lock(record.uuid, async (held) => {
    await held.putMachine(web, machineRecord())
    await held.updateMachine(web, (draft) => Object.assign(draft, { hostKey: description }))
    await held.updateDeployment((draft) => Object.assign(draft, { description }))
  })
  const file = of === 'machine' ? machineFile(store, record) : stateFile(store, record)
  damage(file)
  return { store, file, uuid: record.uuid }
}

const change = (file: string, from: string, to: string) =>
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to))

type Damage = [string, (file: string) => void, RegExp]

const anyFile: Damage[] = [
  [
    'truncated',
    (file) => writeFileSync(file, readFileSync(file, 'utf8').slice(0, 80)),
    /is damaged: .*not complete JSON/,
  ],
  ['empty', (file) => writeFileSync(file, ''), /is damaged: .*the file is empty/],
  ['not JSON', (file) => writeFileSync(file, '\0\0\0\0'), /is damaged: .*not complete JSON/],
  [
    'no file of ours',
    (file) => writeFileSync(file, '{"name": "left-pad"}'),
    /is damaged: .*the file is not a .* file/,
  ],
  ['deleted', (file) => rmSync(file), /is missing: /],
  [
    'with fields that nobody knows',
    (file) => change(file, '"revision"', '"visions": 3, "revision"'),
    /[Uu]nrecognized key/,
  ],
]
const ofDeployment: Damage[] = [
  [
    'of wrong types',
    (file) => change(file, '"searchPath": []', '"searchPath": 1'),
    /deployment\.searchPath: /,
  ],
]
const ofMachine: Damage[] = [
  ['of wrong types', (file) => change(file, '"index": 1', '"index": "one"'), /machine\.index: /],
  [
    'of another machine',
    (file) => change(file, '"name": "web"', '"name": "db"'),
    /the file belongs to machine 'db'/,
  ],
]

async function expectRefused({ store, file, uuid }: Damaged, message: RegExp): Promise<void> {
  const before = fileSnapshot(store.root)
  const refused = {
    name: 'OpsError',
    exitCode: 1,
    message: expect.stringMatching(message),
    hint: expect.stringContaining(`cp -p ${file}.bak ${file}`),
  }
  for (const reference of ['lab', uuid, uuid.slice(0, 8), undefined]) {
    expect(await errorOf(() => store.resolve(reference))).toMatchObject(refused)
  }
  expect(await store.list()).toEqual([])
  expect(await store.problems()).toEqual([expect.objectContaining(refused)])
  const lock = () => store.lock(DeploymentUuid.parse(uuid), async () => {})
  expect(await errorOf(lock)).toMatchObject(refused)
  expect(fileSnapshot(store.root)).toEqual(before)
}

const sizes = [
  ['a state file', 'the newest'],
  ['a state file as large as that of many machines', 'x'.repeat(largeState)],
] as const

describe.each(sizes)('%s', (_size, description) => {
  it.each([...anyFile, ...ofDeployment])(
    'is refused with the command that restores the backup when it is %s',
    async (_, damage, message) => expectRefused(await damaged(damage, { description }), message),
  )
})

describe("a machine's file", () => {
  it.each([...anyFile, ...ofMachine])(
    'is refused with its machine, and the command that restores the backup, when it is %s',
    async (_, damage, message) => {
      const found = await damaged(damage, { of: 'machine' })
      await expectRefused(found, message)
      await expectRefused(found, /^the state of machine 'web' of deployment 'lab' is /)
    },
  )

  it('is restored by that command', async () => {
    const { store, file } = await damaged((path) => writeFileSync(path, 'cut o'), { of: 'machine' })
    writeFileSync(file, readFileSync(`${file}.bak`))
    expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
    expect(await store.problems()).toEqual([])
  })

  it('is reported as missing when it was deleted, also when it was written only once', async () => {
    const store = await temporaryStore()
    const record = await createLab(store)
    await store.lock(record.uuid, (held) => held.putMachine(web, machineRecord()))
    rmSync(machineFile(store, record))
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      code: 'STATE_DAMAGED',
      message: expect.stringMatching(/machine 'web' .* is missing/),
    })
  })

  it('is reported together with others when it is damaged', async () => {
    const { store, file, uuid } = await damaged(() => {}, { of: 'machine' })
    await store.lock(DeploymentUuid.parse(uuid), (held) =>
      held.putMachine(MachineName.parse('db'), machineRecord({ index: 2 })),
    )
    for (const each of [file, file.replace('web', 'db')]) writeFileSync(each, 'cut o')
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      code: 'STATE_DAMAGED',
      message: expect.stringMatching(/machine 'db'.*\n.*machine 'web'/),
    })
  })

  it('keeps its ports from the machines of other deployments when it is damaged', async () => {
    const { store, uuid } = await damaged((path) => writeFileSync(path, 'cut o'), { of: 'machine' })
    const { uuid: other } = await createLab(store, 'prod')
    const quiet = { signal: new AbortController().signal, log: () => {} }
    const seen = await store.allocating(other, quiet, async (others) => others)
    expect(seen).toMatchObject([{ uuid, machines: { web: { allocation: machineRecord().allocation } } }])
  })

  it('is left alone when it is not a machine of hydra-ops', async () => {
    const { store, file } = await damaged(() => {}, { of: 'machine' })
    for (const name of ['web.json~', '.web.json.swp', 'notes'])
      writeFileSync(file.replace('web.json', name), 'mine')
    expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
  })

  it('counts as damaged when its machine has no host name', async () => {
    const { store, file } = await damaged(() => {}, { of: 'machine' })
    writeFileSync(
      file.replace('web.json', 'we b.json'),
      readFileSync(file, 'utf8').replace('"web"', '"we b"'),
    )
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      code: 'STATE_DAMAGED',
      message: expect.stringContaining('name: a machine name is a host name'),
    })
  })
})

describe('the folder of the machines', () => {
  it('is reported as missing when it was deleted', async () => {
    const { store, file, uuid } = await damaged(() => {}, { of: 'machine' })
    rmSync(dirname(file), { recursive: true })
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      exitCode: 1,
      message: expect.stringContaining(dirname(file)),
    })
    expect(await errorOf(() => store.lock(DeploymentUuid.parse(uuid), async () => {}))).toMatchObject({
      exitCode: 1,
    })
  })
})

describe('a state file', () => {
  it('is restored by that command', async () => {
    const { store, file } = await damaged((path) => writeFileSync(path, 'cut o'))
    writeFileSync(file, readFileSync(`${file}.bak`))
    expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
    expect(await store.problems()).toEqual([])
  })

  it('is still refused without a good backup, and the error says so', async () => {
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

  it('is refused with a newer schema, and the older backup is not offered', async () => {
    const { store } = await damaged((file) => change(file, '"schemaVersion": 5', '"schemaVersion": 99'))
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      code: 'STATE_NEWER',
      exitCode: 1,
      message: expect.stringMatching(/newer hydra-ops \(schema 99; this version supports schema 5\)/),
      hint: expect.not.stringContaining('cp '),
    })
  })

  it('is refused with the reason when it cannot be read', async () => {
    const { store, file } = await damaged((path) => {
      rmSync(path)
      mkdirSync(path)
    })
    expect(await errorOf(() => store.resolve('lab'))).toMatchObject({
      exitCode: 1,
      message: expect.stringMatching(/cannot read the state of deployment 'lab' .*: the path is a folder$/),
      hint: `ls -ld ${file} shows the file`,
    })
  })

  it('is not mistaken for this deployment’s when it belongs to another', async () => {
    const { store, uuid } = await damaged((file) => {
      const text = readFileSync(file, 'utf8')
      writeFileSync(file, text.replace(/"uuid": ".{8}/, '"uuid": "00000000'))
    })
    expect(await errorOf(() => store.resolve(uuid))).toMatchObject({
      message: expect.stringMatching(/the state of another deployment, 00000000-/),
    })
  })

  it('does not stop work on another deployment when it is damaged', async () => {
    const { store, file } = await damaged((path) => writeFileSync(path, 'cut o'))
    const other = await createLab(store, 'prod')
    expect((await store.resolve('prod')).uuid).toBe(other.uuid)
    await store.lock(other.uuid, async (held) => held.journal({ event: 'deploy.begin' }))
    expect(existsSync(file)).toBe(true)
  })
})

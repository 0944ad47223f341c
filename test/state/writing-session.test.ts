import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DeploymentName, MachineName } from '../../src/core/names.js'
import type { DeploymentSession } from '../../src/core/session.js'
import { machineRecord } from './machine-record.js'
import {
  createLab,
  errorOf,
  fileSnapshot,
  machineFile,
  operator,
  snapshot,
  stateFile,
  storeIn,
  type TestStore,
  temporaryStore,
  web,
} from './temporary-store.js'

async function held<T>(action: (held: DeploymentSession, store: TestStore) => T | Promise<T>): Promise<T> {
  const store = await temporaryStore()
  return store.lock((await createLab(store)).uuid, async (deployment) => action(deployment, store))
}

const addWeb = (session: DeploymentSession) => session.putMachine(web, machineRecord())
const describeIt = (session: DeploymentSession) =>
  session.updateDeployment((draft) => Object.assign(draft, { description: 'another' }))

describe('an update', () => {
  it('is on the disk when it returns, and the former state is the backup', () =>
    held(async (deployment, store) => {
      const file = machineFile(store, deployment.record)
      await addWeb(deployment)
      expect(readFileSync(`${file}.bak`, 'utf8')).toBe(readFileSync(file, 'utf8'))
      const before = readFileSync(file, 'utf8')
      await deployment.updateMachine(web, (draft) => Object.assign(draft, { os: 'nixos' }))
      expect(deployment.record.machines[web]).toEqual(machineRecord({ os: 'nixos' }))
      expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
        revision: 1,
        name: 'web',
        machine: { os: 'nixos' },
      })
      expect(readFileSync(`${file}.bak`, 'utf8')).toBe(before)
      expect(await store.resolve('lab')).toEqual(deployment.record)
    }))

  it('keeps every field of a machine for the next process', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    const machine = machineRecord({
      hostKey: 'ssh-ed25519 AAAA',
      handle: { domain: 'x', disks: [null, 1.5, 'ä\n"'] },
      config: {},
      intent: { action: 'change', resource: 'r', since: 's' },
      target: { host: 'h', port: 22, user: 'u', hostKey: 'k', sshOptions: ['-v'], privilegeEscalation: [] },
      stoppedOnPurpose: true,
      tasks: { nix: { inputs: 'i', outputs: { key: 'value' }, at: 'now' } },
      keys: { 'a key': '/run/keys/a key' },
      facts: { osRelease: 'Debian', bootId: 'b', nixVersion: '2.8', freeBytes: 1e12, seenAt: 'now' },
      lastResult: 'degraded',
    })
    await store.lock(uuid, async (deployment) => {
      await deployment.putMachine(web, machine)
    })
    const again = await storeIn(store.root)
    expect((await again.resolve('lab')).machines[web]).toEqual(machine)
  })

  it('writes nothing when it changes nothing', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const before = readFileSync(stateFile(store, deployment.record), 'utf8')
      await addWeb(deployment)
      expect(readFileSync(stateFile(store, deployment.record), 'utf8')).toBe(before)
    }))

  it('changes nothing when its function throws', () =>
    held(async (deployment, store) => {
      const half = deployment.updateDeployment((draft) => {
        draft.description = 'half'
        throw new Error('half-way')
      })
      await expect(half).rejects.toThrow('half-way')
      expect(deployment.record.description).toBeUndefined()
      expect((await store.resolve('lab')).description).toBeUndefined()
    }))

  it('never writes a state that could not be read back', () =>
    held(async (deployment, store) => {
      const before = snapshot(store.root)
      const broken = deployment.putMachine(web, machineRecord({ facts: { freeBytes: Number.NaN } }))
      await expect(broken).rejects.toThrow(/bug: .*facts\.freeBytes/)
      expect(deployment.record.machines).toEqual({})
      expect(snapshot(store.root)).toEqual(before)
    }))

  it('may rename, but not to a name of another deployment', () =>
    held(async (deployment, store) => {
      await createLab(store, 'prod')
      const rename = (name: string) =>
        deployment.updateDeployment((draft) => {
          draft.name = DeploymentName.parse(name)
        })
      await expect(rename('prod')).rejects.toThrow("'prod' exists already")
      await rename('stage')
      expect((await store.resolve('stage')).uuid).toBe(deployment.record.uuid)
    }))
})

describe('a group of simultaneous updates', () => {
  it('is applied one after the other for one machine, and none is lost', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const keys = Array.from({ length: 20 }, (_, at) => `key${at}`)
      const seen: string[][] = []
      await Promise.all(
        keys.map((key) =>
          deployment.updateMachine(web, (draft) => {
            draft.keys[key] = key
            seen.push(Object.keys(draft.keys))
          }),
        ),
      )
      expect(seen).toEqual(keys.map((_, at) => keys.slice(0, at + 1)))
      expect(Object.keys((await store.resolve('lab')).machines[web]?.keys ?? {})).toEqual(keys)
    }))

  it('is on the disk as a whole for several machines and the deployment', () =>
    held(async (deployment, store) => {
      const names = Array.from({ length: 20 }, (_, at) => MachineName.parse(`m${at}`))
      await Promise.all([
        ...names.map((name, at) => deployment.putMachine(name, machineRecord({ index: at + 1 }))),
        describeIt(deployment),
      ])
      expect(await store.resolve('lab')).toEqual(deployment.record)
      expect(Object.keys(deployment.record.machines).sort()).toEqual([...names].sort())
    }))

  it('goes on when one of them fails', () =>
    held(async (deployment, store) => {
      const broken = machineRecord({ facts: { freeBytes: Number.NaN } })
      const results = await Promise.allSettled([
        deployment.putMachine(web, broken),
        addWeb(deployment),
        describeIt(deployment),
      ])
      expect(results.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
      expect(await store.resolve('lab')).toMatchObject({ description: 'another', machines: { web: {} } })
    }))

  it('has ended before the lock is released, even when nobody waited for it', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    let written: Promise<void> | undefined
    await store.lock(uuid, async (deployment) => {
      written = addWeb(deployment)
    })
    expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
    await written
  })
})

describe('the files of machines', () => {
  const names = ['web', 'web.json', 'web.json.bak', 'web.bak', 'constructor', 'Web', 'a'.repeat(63)]

  it('keep machines apart whose names look like files, for their owner alone', () =>
    held(async (deployment, store) => {
      for (const [at, name] of names.entries())
        await deployment.putMachine(MachineName.parse(name), machineRecord({ index: at + 1, hostKey: name }))
      await deployment.removeMachine(MachineName.parse('web.json'))
      const { machines } = await (await storeIn(store.root)).resolve('lab')
      expect(Object.entries(machines).map(([name, { hostKey }]) => [name, hostKey])).toEqual(
        names.filter((name) => name !== 'web.json').map((name) => [name, name]),
      )
      const file = machineFile(store, deployment.record)
      expect(statSync(file).mode & 0o777).toBe(0o600)
      expect(statSync(dirname(file)).mode & 0o777).toBe(0o700)
    }))

  it('stay as they are when another machine is written, and the file of the deployment too', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const db = MachineName.parse('db')
      await deployment.putMachine(db, machineRecord({ index: 2 }))
      const others = () => fileSnapshot(store.root).filter((line) => !line.includes('/machines/web.json'))
      const before = others()
      await deployment.updateMachine(web, (draft) => Object.assign(draft, { hostKey: 'new' }))
      expect(others()).toEqual(before)
    }))

  it('disappear with their machine, and a machine of that name may come again', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      await deployment.removeMachine(web)
      expect(readdirSync(dirname(machineFile(store, deployment.record)))).toEqual([])
      expect(deployment.record.machines).toEqual({})
      await addWeb(deployment)
      expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
    }))

  it('are still those of a machine when its removal was interrupted', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      rmSync(`${machineFile(store, deployment.record)}.bak`)
      expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
      await deployment.removeMachine(web)
      expect((await store.resolve('lab')).machines).toEqual({})
    }))
})

describe("a machine's file that changes under a running command", () => {
  const changeWeb = (session: DeploymentSession) =>
    session.updateMachine(web, (draft) => Object.assign(draft, { hostKey: 'new' }))

  it('is not overwritten, and the machine is named', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const file = machineFile(store, deployment.record)
      const theirs = readFileSync(file, 'utf8').replace('"revision": 0', '"revision": 7')
      writeFileSync(file, theirs)
      expect(await errorOf(() => changeWeb(deployment))).toMatchObject({
        code: 'STATE_CHANGED',
        message: expect.stringMatching(
          /machine 'web' of deployment 'lab'.*expected revision 0, found revision 7/,
        ),
      })
      expect(readFileSync(file, 'utf8')).toBe(theirs)
    }))

  it('is not recreated when it was deleted, and the backup is offered', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const file = machineFile(store, deployment.record)
      rmSync(file)
      expect(await errorOf(() => changeWeb(deployment))).toMatchObject({
        code: 'STATE_DAMAGED',
        message: expect.stringMatching(
          /machine 'web' .* is missing: .*the state was valid when this command began/,
        ),
        hint: expect.stringContaining(`cp -p ${file}.bak ${file}`),
      })
      expect(existsSync(file)).toBe(false)
    }))

  it('is not overwritten when another process added the machine', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const [file, db] = ['web', 'db'].map((name) => machineFile(store, deployment.record, name))
      const theirs = readFileSync(file ?? '', 'utf8').replace('"name": "web"', '"name": "db"')
      writeFileSync(db ?? '', theirs)
      const add = () => deployment.putMachine(MachineName.parse('db'), machineRecord({ index: 2 }))
      expect(await errorOf(add)).toMatchObject({ code: 'STATE_CHANGED' })
      expect(readFileSync(db ?? '', 'utf8')).toBe(theirs)
    }))
})

describe('a state that changes under a running command', () => {
  it('is not recreated when its file was deleted, and the backup is offered', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const file = stateFile(store, deployment.record)
      rmSync(file)
      expect(await errorOf(() => describeIt(deployment))).toMatchObject({
        exitCode: 1,
        message: expect.stringMatching(/is missing: .*the state was valid when this command began/),
        hint: expect.stringContaining(`cp -p ${file}.bak ${file}`),
      })
      expect(existsSync(file)).toBe(false)
    }))

  it('is not recreated when the whole folder was deleted', () =>
    held(async (deployment, store) => {
      rmSync(deployment.paths.root, { recursive: true })
      for (const write of [
        () => addWeb(deployment),
        () => deployment.journal({ event: 'x' }),
        () => deployment.remove(),
      ]) {
        expect(await errorOf(write)).toMatchObject({ name: 'OpsError', exitCode: 1 })
      }
      expect(await store.list()).toEqual([])
      expect(existsSync(deployment.paths.root)).toBe(false)
    }))

  it('is not overwritten when another process wrote', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const file = stateFile(store, deployment.record)
      const theirs = readFileSync(file, 'utf8')
        .replace('"revision": 0', '"revision": 7')
        .replace('"big', '"small')
      writeFileSync(file, theirs)
      expect(await errorOf(() => describeIt(deployment))).toMatchObject({
        code: 'STATE_CHANGED',
        exitCode: 1,
        message: expect.stringMatching(/expected revision 0, found revision 7/),
      })
      expect(readFileSync(file, 'utf8')).toBe(theirs)
    }))

  it('is not overwritten when the file was damaged meanwhile', () =>
    held(async (deployment, store) => {
      await addWeb(deployment)
      const file = stateFile(store, deployment.record)
      writeFileSync(file, 'garbage')
      expect(await errorOf(() => describeIt(deployment))).toMatchObject({ code: 'STATE_DAMAGED' })
      expect(readFileSync(file, 'utf8')).toBe('garbage')
    }))

  it('is not written by a command that lost its lock, whether removed or taken by another', () =>
    held(async (deployment, store) => {
      const { uuid } = deployment.record
      expect(await store.unlock(uuid)).toMatch(/^alice@build1, pid \d+, since .*: hydra-ops deploy -d lab$/)
      expect(await errorOf(() => addWeb(deployment))).toMatchObject({ exitCode: 5 })
      await store.lock(uuid, async (other) => {
        expect(await errorOf(() => addWeb(deployment))).toMatchObject({ exitCode: 5 })
        await addWeb(other)
      })
      expect(Object.keys((await store.resolve('lab')).machines)).toEqual(['web'])
    }))
})

describe('the journal of a deployment', () => {
  it('records the user, the command and the effect', async () => {
    const store = await temporaryStore({ now: () => new Date('2026-11-21T10:15:00Z') })
    const { uuid } = await createLab(store)
    await store.lock(uuid, async (deployment) => {
      await deployment.journal({ event: 'machine.create', machine: 'web', result: 'done', data: { a: 1 } })
    })
    expect(await store.history(uuid)).toEqual([
      {
        ...operator,
        at: '2026-11-21T10:15:00.000Z',
        event: 'machine.create',
        machine: 'web',
        result: 'done',
        data: { a: 1 },
      },
    ])
  })
})

describe('the removal of a deployment', () => {
  it('leaves nothing of the deployment, and later calls are refused', () =>
    held(async (deployment, store) => {
      appendFileSync(join(deployment.paths.root, 'known_hosts'), 'x')
      await deployment.remove()
      expect(readdirSync(join(store.root, 'deployments'))).toEqual([])
      expect(await errorOf(() => addWeb(deployment))).toMatchObject({ code: 'STATE_REMOVED' })
      expect(await errorOf(() => deployment.journal({ event: 'x' }))).toMatchObject({ code: 'STATE_REMOVED' })
    }))

  it('ends the lock with it', async () => {
    const store = await temporaryStore()
    const { uuid } = await createLab(store)
    await store.lock(uuid, async (deployment) => deployment.remove())
    expect(await errorOf(() => store.lock(uuid, async () => {}))).toMatchObject({ exitCode: 1 })
    expect(existsSync(store.paths(uuid).root)).toBe(false)
  })
})

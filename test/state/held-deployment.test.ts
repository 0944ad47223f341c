import { appendFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DeploymentRecord } from '../../src/core/deployment.js'
import { DeploymentName } from '../../src/core/names.js'
import type { DeploymentStore, HeldDeployment } from '../../src/core/store.js'
import { createStore } from '../../state/store.js'
import { machineRecord } from './machine-record.js'
import { createLab, errorOf, operator, stateFile, temporaryStore, web } from './temporary-store.js'

async function held<T>(action: (held: HeldDeployment, store: DeploymentStore) => T | Promise<T>): Promise<T> {
  const store = await temporaryStore()
  return store.lock(createLab(store).uuid, async (deployment) => action(deployment, store))
}

const addWeb = (draft: DeploymentRecord) => {
  draft.machines[web] = machineRecord()
}
const describeIt = (draft: DeploymentRecord) => {
  draft.description = 'another'
}

describe('an update', () => {
  it('is on the disk when it returns, and the one before is the backup', () =>
    held((deployment, store) => {
      const file = stateFile(store, deployment.record)
      const before = readFileSync(file, 'utf8')
      deployment.update(addWeb)
      expect(deployment.record.machines[web]).toEqual(machineRecord())
      expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
        revision: 1,
        deployment: { machines: { web: { provider: 'libvirt' } } },
      })
      expect(readFileSync(`${file}.bak`, 'utf8')).toBe(before)
      expect(store.resolve('lab')).toEqual(deployment.record)
    }))

  it('keeps every field of a machine for the next process', async () => {
    const store = await temporaryStore()
    const { uuid } = createLab(store)
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
      deployment.update((draft) => {
        draft.machines[web] = machine
      })
    })
    const again = await createStore({ root: store.root, operator, env: {} })
    expect(again.resolve('lab').machines[web]).toEqual(machine)
  })

  it('that changes nothing writes nothing', () =>
    held((deployment, store) => {
      deployment.update(addWeb)
      const before = readFileSync(stateFile(store, deployment.record), 'utf8')
      deployment.update(addWeb)
      expect(readFileSync(stateFile(store, deployment.record), 'utf8')).toBe(before)
    }))

  it('whose function throws changes nothing', () =>
    held((deployment, store) => {
      const half = (draft: DeploymentRecord) => {
        addWeb(draft)
        throw new Error('half-way')
      }
      expect(() => deployment.update(half)).toThrow('half-way')
      expect(deployment.record.machines).toEqual({})
      expect(store.resolve('lab').machines).toEqual({})
    }))

  it('never writes what could not be read back', () =>
    held((deployment, store) => {
      const before = readFileSync(stateFile(store, deployment.record), 'utf8')
      const broken = (draft: DeploymentRecord) => {
        draft.machines[web] = machineRecord({ facts: { freeBytes: Number.NaN } })
      }
      expect(() => deployment.update(broken)).toThrow(/bug: .*machines\.web\.facts\.freeBytes/)
      expect(readFileSync(stateFile(store, deployment.record), 'utf8')).toBe(before)
    }))

  it('may rename, but not to a name that another deployment has', () =>
    held((deployment, store) => {
      createLab(store, 'prod')
      const rename = (name: string) =>
        deployment.update((draft) => {
          draft.name = DeploymentName.parse(name)
        })
      expect(() => rename('prod')).toThrow("'prod' already")
      rename('stage')
      expect(store.resolve('stage').uuid).toBe(deployment.record.uuid)
    }))
})

describe('a state that changes under a running command', () => {
  it('is not made anew when its file was deleted, and the backup is offered', () =>
    held(async (deployment, store) => {
      deployment.update(addWeb)
      const file = stateFile(store, deployment.record)
      rmSync(file)
      expect(await errorOf(() => deployment.update(describeIt))).toMatchObject({
        exitCode: 1,
        message: expect.stringMatching(/is missing: .*was whole when this command began/),
        hint: expect.stringContaining(`cp -p ${file}.bak ${file}`),
      })
      expect(existsSync(file)).toBe(false)
    }))

  it('is not made anew when the whole folder was deleted', () =>
    held(async (deployment, store) => {
      rmSync(deployment.paths.root, { recursive: true })
      for (const write of [
        () => deployment.update(addWeb),
        () => deployment.journal({ event: 'x' }),
        () => deployment.remove(),
      ]) {
        expect(await errorOf(write)).toMatchObject({ name: 'OpsError', exitCode: 1 })
      }
      expect(store.list()).toEqual([])
      expect(existsSync(deployment.paths.root)).toBe(false)
    }))

  it('is not written over when somebody else wrote', () =>
    held(async (deployment, store) => {
      deployment.update(addWeb)
      const file = stateFile(store, deployment.record)
      const theirs = readFileSync(file, 'utf8')
        .replace('"revision": 1', '"revision": 7')
        .replace('"big', '"small')
      writeFileSync(file, theirs)
      expect(await errorOf(() => deployment.update(describeIt))).toMatchObject({
        code: 'STATE_CHANGED',
        exitCode: 1,
        message: expect.stringMatching(/revision 1 was expected, 7 is there/),
      })
      expect(readFileSync(file, 'utf8')).toBe(theirs)
    }))

  it('is not written over when the file was damaged meanwhile', () =>
    held(async (deployment, store) => {
      deployment.update(addWeb)
      const file = stateFile(store, deployment.record)
      writeFileSync(file, 'garbage')
      expect(await errorOf(() => deployment.update(describeIt))).toMatchObject({ code: 'STATE_DAMAGED' })
      expect(readFileSync(file, 'utf8')).toBe('garbage')
    }))

  it('is not written by a command whose lock was removed, or taken by another', () =>
    held(async (deployment, store) => {
      const { uuid } = deployment.record
      expect(store.unlock(uuid)).toMatch(/^alice@build1, pid \d+, since .*: hydra-ops deploy -d lab$/)
      expect(await errorOf(() => deployment.update(addWeb))).toMatchObject({ exitCode: 5 })
      await store.lock(uuid, async (other) => {
        expect(await errorOf(() => deployment.update(addWeb))).toMatchObject({ exitCode: 5 })
        other.update(addWeb)
      })
      expect(Object.keys(store.resolve('lab').machines)).toEqual(['web'])
    }))
})

describe('the journal of a deployment', () => {
  it('says who did what with which command', async () => {
    const store = await temporaryStore({ now: () => new Date('2026-11-21T10:15:00Z') })
    const { uuid } = createLab(store)
    await store.lock(uuid, async (deployment) => {
      deployment.journal({ event: 'machine.create', machine: 'web', result: 'done', data: { a: 1 } })
    })
    expect(store.history(uuid)).toEqual([
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

describe('removing', () => {
  it('leaves nothing of the deployment, and what comes after is refused', () =>
    held(async (deployment, store) => {
      appendFileSync(join(deployment.paths.root, 'known_hosts'), 'x')
      deployment.remove()
      expect(readdirSync(join(store.root, 'deployments'))).toEqual([])
      expect(await errorOf(() => deployment.update(addWeb))).toMatchObject({ code: 'STATE_REMOVED' })
      expect(await errorOf(() => deployment.journal({ event: 'x' }))).toMatchObject({ code: 'STATE_REMOVED' })
    }))

  it('ends the lock with it', async () => {
    const store = await temporaryStore()
    const { uuid } = createLab(store)
    await store.lock(uuid, async (deployment) => deployment.remove())
    expect(await errorOf(() => store.lock(uuid, async () => {}))).toMatchObject({ exitCode: 1 })
    expect(existsSync(store.paths(uuid).root)).toBe(false)
  })
})

import { existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { VirtualBoxConfig } from '../../../providers/virtualbox/config.js'
import { parseMachine } from '../../../providers/virtualbox/machine-facts.js'
import { parseMedia } from '../../../providers/virtualbox/media.js'
import type { VirtualBoxResource } from '../../../providers/virtualbox/places.js'
import { errnoOf } from '../../../src/core/file-failure.js'
import { forceState } from '../../fakes/virtualbox/install.js'
import type { MachineState } from '../../fakes/virtualbox/model.js'
import { type Made, machinesOf } from './made-machines.js'
import { openSession, type Session } from './session.js'

let session: Session
beforeAll(async () => {
  session = await openSession()
})
afterAll(() => session?.dispose())

const { reconcile, make, facts, start, seen, stop, destroy } = machinesOf(() => session)

/** Listens on a port. Providers of other tests briefly bind ports to try them, so a failed attempt is repeated. */
async function listen(port: number): Promise<Server> {
  for (;;) {
    const server = createServer()
    const taken = await new Promise<boolean>((resolve, reject) => {
      server.once('error', (error) => {
        if (errnoOf(error) === 'EADDRINUSE') resolve(false)
        else reject(error)
      })
      server.listen({ host: '127.0.0.1', port }, () => resolve(true))
    })
    if (taken) return server
    await setTimeout(20)
  }
}

describe('the disks of a machine', () => {
  it('are clones: the image is converted once and is never attached', async () => {
    const one = await make()
    const cached = join(dirname(session.image.disk), 'small.vdi')
    const first = statSync(cached).mtimeMs
    const two = await make()
    expect(statSync(cached).mtimeMs).toBe(first)
    for (const made of [one, two]) {
      expect([...(await facts(made)).attached.values()]).not.toContain(cached)
      expect((await facts(made)).attached.get('SATA-0-0')).toBe(made.handle.disk)
      await destroy(made)
    }
    expect(existsSync(cached)).toBe(true)
  })

  it('may hold only what differs from the image', async () => {
    const made = await make({ linkedClone: true })
    const media = parseMedia(await session.vbox('list', 'hdds'))
    const root = media.find(({ location }) => location === made.handle.disk)
    const base = media.find(({ uuid }) => uuid === root?.parent)?.location ?? ''
    expect(base).toMatch(/small-1024\.vdi$/)
    expect(await session.provider.plan(made, session.run)).toEqual([])
    const bigger = VirtualBoxConfig.parse({ ...made.config, baseImageSize: 2 })
    await expect(session.provider.plan({ ...made, config: bigger }, session.run)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('linked clone'),
    })
    await destroy(made)
    // `unregistervm --delete` would also delete the base of an attached linked clone.
    expect(existsSync(base)).toBe(true)
  })

  it('grow, and are not asked to shrink', async () => {
    const made = await make({ disks: { data: { port: 1, size: 64 } } })
    const config = (size: number) =>
      VirtualBoxConfig.parse({ ...made.config, disks: { data: { port: 1, size } } })
    const bigger = { ...made, config: config(128) }
    expect(await session.provider.plan(bigger, session.run)).toMatchObject([
      { action: 'change', detail: expect.stringContaining('disk data') },
    ])
    await reconcile(bigger)
    const capacity = parseMedia(await session.vbox('list', 'hdds')).find(
      ({ location }) => location === made.handle.extraDisks.data,
    )?.capacityMiB
    expect(capacity).toBe(128)
    await expect(session.provider.plan({ ...made, config: config(32) }, session.run)).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('cannot shrink'),
    })
    await destroy(made)
  })

  it('are detached and kept when the expression drops them, and attached again later', async () => {
    const made = await make({ disks: { data: { port: 1, size: 64 } } })
    const without = await reconcile({
      ...made,
      config: VirtualBoxConfig.parse({ ...made.config, disks: {} }),
    })
    const data = made.handle.extraDisks.data ?? ''
    expect([...(await facts(without)).attached.values()]).not.toContain(data)
    expect(existsSync(data)).toBe(true)
    const moved = VirtualBoxConfig.parse({ ...made.config, disks: { data: { port: 3, size: 64 } } })
    await reconcile({ ...without, config: moved })
    expect((await facts(without)).attached.get('SATA-3-0')).toBe(data)
    await destroy(without)
    expect(existsSync(data)).toBe(false)
  })

  it('at a port of ours that somebody else gave another disk are refused, and nothing is replaced', async () => {
    const made = await make()
    const strange = join(session.folder, 'strange', 'data.vdi')
    await session.vbox('createmedium', 'disk', '--filename', strange, '--size', '4', '--format', 'VDI')
    const slot = ['--storagectl', 'SATA', '--port', '1', '--device', '0', '--type', 'hdd']
    await session.vbox('storageattach', made.handle.uuid, ...slot, '--medium', strange)
    const config = VirtualBoxConfig.parse({ ...made.config, disks: { data: { port: 1, size: 64 } } })
    await expect(reconcile({ ...made, config })).rejects.toMatchObject({ code: 'FOREIGN' })
    expect((await facts(made)).attached.get('SATA-1-0')).toBe(strange)
    await destroy(made)
    expect(existsSync(strange)).toBe(true)
    await session.vbox('closemedium', 'disk', strange, '--delete')
  })

  it('that is lost is a loss in the plan, and is replaced only with permission', async () => {
    const made = await make({ disks: { data: { port: 1, size: 64 } } })
    renameSync(made.handle.extraDisks.data ?? '', join(session.folder, 'lost.vdi'))
    expect(await session.provider.plan(made, session.run)).toMatchObject([{ needs: 'new-disk' }])
    await expect(reconcile(made)).rejects.toMatchObject({ code: 'NEEDS_RECREATE' })
    await expect(start(made)).rejects.toMatchObject({ code: 'NO_DISK' })
    await destroy(made)
  })
})

describe('the identity of a machine', () => {
  it('is a seed disk for its owner alone, and follows a change', async () => {
    const made = await make()
    const seed = (await facts(made)).attached.get('SATA-8-0') ?? ''
    expect(statSync(seed).mode & 0o777).toBe(0o600)
    expect(readFileSync(seed).includes('ssh_authorized_keys')).toBe(true)
    const other = made.identity === undefined ? undefined : { ...made.identity, hostName: 'renamed' }
    const renamed = { ...made, identity: other }
    expect(await session.provider.plan(renamed, session.run)).toHaveLength(1)
    await reconcile(renamed)
    expect(readFileSync(seed).includes('renamed')).toBe(true)
    expect(await session.provider.plan(renamed, session.run)).toEqual([])
    await destroy(made)
  })
})

describe('the port for ssh', () => {
  it('moves before the start when another program has it', async () => {
    const made = await make()
    const server = await listen(made.allocation.sshPort)
    const started = await start(made)
    server.close()
    expect(started.allocation.sshPort).not.toBe(made.allocation.sshPort)
    expect((await facts(made)).rules.map(({ host }) => host)).toEqual([started.allocation.sshPort])
    await destroy(made)
  })

  it('moves at once when VirtualBox alone noticed, in its log, that the port was taken', async () => {
    const made = await make()
    const { sshPort } = made.allocation
    // Another program takes the port after the look and before the start.
    let server: Server | undefined
    const racing = session.providerWith({
      local: {
        run: async (argv, options) => {
          if (argv[0] === session.standIn.program && argv[1] === 'startvm') server = await listen(sshPort)
          return session.local.run(argv, options)
        },
      },
    })
    const allocation = await racing.start(made, session.run)
    server?.close()
    expect(allocation?.sshPort).not.toBe(sshPort)
    expect(await seen(made)).toMatchObject({ kind: 'running' })
    expect((await facts(made)).rules).toMatchObject([{ name: 'ssh', host: allocation?.sshPort, guest: 22 }])
    await destroy(made)
  })
})

/** Brings a new machine into a state, with VBoxManage or, if no call leads there, by force. */
async function inState(state: MachineState): Promise<Made> {
  const made = await make()
  const { uuid } = made.handle
  if (state === 'aborted') {
    forceState(session.standIn, uuid, state)
    return made
  }
  const started = await start(made)
  if (state === 'paused') await session.vbox('controlvm', uuid, 'pause')
  if (state === 'saved' || state === 'aborted-saved') await session.vbox('controlvm', uuid, 'savestate')
  if (state === 'aborted-saved' || state === 'gurumeditation') forceState(session.standIn, uuid, state)
  return started
}

const stoppedStates = ['paused', 'gurumeditation', 'aborted', 'saved', 'aborted-saved'] as const

describe('a machine in the state', () => {
  it.each(stoppedStates)('%s is started', async (state) => {
    const made = await inState(state)
    expect(await seen(made)).toMatchObject({ kind: 'stopped', detail: state })
    await start(made)
    expect(await seen(made)).toMatchObject({ kind: 'running' })
    await destroy(made)
  })

  it.each(['running', ...stoppedStates] as const)(
    '%s is stopped, and then removed with all its disks',
    async (state) => {
      const before = await session.registry()
      const made = await inState(state)
      await stop(made)
      expect(await seen(made)).toMatchObject({ kind: 'stopped' })
      await destroy(made)
      expect(await session.registry()).toEqual(before)
      expect(existsSync(made.disks)).toBe(false)
    },
  )

  it.each(['starting', 'stopping'] as const)('%s is removed, whatever comes of it', async (state) => {
    const made = await start(await make())
    forceState(session.standIn, made.handle.uuid, state)
    expect(await seen(made)).toMatchObject({ kind: 'running', detail: state })
    await destroy(made)
    expect(await seen(made)).toEqual({ kind: 'absent' })
  })
})

describe('a change of a machine that runs', () => {
  it('waits for the next start, except its ports', async () => {
    const made = await start(await make())
    const config = VirtualBoxConfig.parse({ ...made.config, memorySize: 128 })
    const allocation = {
      ...made.allocation,
      forwardPorts: [{ host: made.allocation.sshPort + 1, guest: 80 }],
    }
    const wanted = { ...made, config, allocation }
    expect(await session.provider.plan(wanted, session.run)).toMatchObject([
      { detail: 'memory 64 → 128 MiB', needs: 'restart' },
      { detail: expect.stringContaining('→ :80 opened'), needs: 'nothing' },
    ])
    await reconcile(wanted)
    expect(await facts(made)).toMatchObject({ memoryMiB: 64 })
    expect((await facts(made)).rules.map(({ guest }) => guest).sort()).toEqual([22, 80])
    await stop(made)
    await start(wanted)
    expect(await facts(made)).toMatchObject({ memoryMiB: 128 })
    expect(await session.provider.plan(wanted, session.run)).toEqual([])
    await destroy(made)
  })
})

describe('a machine of somebody else', () => {
  it('with our UUID and the mark of another deployment is not touched', async () => {
    const made = await make()
    await session.vbox('setextradata', made.handle.uuid, 'hydra-ops/deployment', crypto.randomUUID())
    expect(await seen(made)).toMatchObject({ kind: 'foreign' })
    await expect(destroy(made)).rejects.toMatchObject({ code: 'FOREIGN' })
    await session.vbox('setextradata', made.handle.uuid, 'hydra-ops/deployment', made.deployment.uuid)
    await destroy(made)
  })

  it('that lost its settings does not break the list, and ours without settings can be removed', async () => {
    const made = await make()
    const other = join(session.folder, 'other')
    await session.vbox(
      'createvm',
      '--name',
      'other',
      '--ostype',
      'Linux26_64',
      '--register',
      '--basefolder',
      other,
    )
    renameSync(other, `${other}-away`)
    expect(await session.vbox('list', 'vms')).toContain('<inaccessible>')
    expect(await seen(made)).toMatchObject({ kind: 'stopped' })
    const owned = (await session.provider.listOwned?.(session.run)) ?? []
    expect(owned.map(({ name }) => name)).toContain(made.name)
    renameSync(`${other}-away`, other)
    await session.vbox('unregistervm', 'other', '--delete')
    await destroy(made)
  })
})

describe('a state folder that was moved', () => {
  it('is followed: the machine is registered at its new place with its disks', async () => {
    const moving = await openSession()
    const made = await moving.makeResource()
    const options = { allowRestart: true, allowRecreate: false, checkpoint: async () => {} }
    await moving.provider.reconcile(made, options, moving.run)
    const state = `${moving.state}-2`
    renameSync(moving.state, state)
    const there = (path: string) => path.replace(`${moving.state}/`, `${state}/`)
    const moved: VirtualBoxResource = {
      ...made,
      disks: there(made.disks),
      console: there(made.console),
      image: { ...moving.image, disk: there(moving.image.disk) },
      identity: made.identity && { ...made.identity, hostKeyFile: there(made.identity.hostKeyFile) },
    }
    const handle = await moving.provider.reconcile(moved, options, moving.run)
    expect(handle.disk.startsWith(state)).toBe(true)
    const now = parseMachine(await moving.vbox('showvminfo', handle.uuid, '--machinereadable'))
    expect(now.settings.startsWith(state)).toBe(true)
    expect(now.attached.get('SATA-0-0')).toBe(handle.disk)
    expect(now.serial).toBe(`file,${moved.console}`)
    expect(await moving.provider.plan({ ...moved, handle }, moving.run)).toEqual([])
    await moving.provider.destroy({ ...moved, handle }, moving.run)
    moving.dispose()
  })
})

describe('VirtualBox on a host without its driver', () => {
  it('is survived by everything but a start, which names the driver', async () => {
    session.behave('pretend', 'no-driver')
    const made = await make()
    await expect(start(made)).rejects.toMatchObject({
      code: 'VIRTUALBOX',
      message: expect.stringContaining('terminated unexpectedly'),
      hint: expect.stringContaining('/dev/vboxdrv'),
    })
    await destroy(made)
    session.behave('pretend')
  })
})

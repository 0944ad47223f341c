import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import type { Snapshots } from '../../../src/core/provider.js'
import { freePort } from '../../fixtures/free-port.js'
import { portHolder } from '../held-ports.js'
import { readDisk, writeDisk } from './disk-content.js'
import { carefully, madeMachines } from './made-machines.js'
import type { Session } from './session.js'

const machines = madeMachines()
const { make, planned } = machines
const takePort = portHolder()

let session: Session
let power: NonNullable<Session['provider']['snapshots']>
beforeAll(() => {
  session = machines.session
  power = powerOf(session)
})

function powerOf({
  provider,
}: Session): Snapshots<
  LibvirtResource['config'],
  LibvirtResource['allocation'],
  NonNullable<LibvirtResource['handle']>
> {
  if (provider.snapshots === undefined) throw new Error('libvirt keeps snapshots')
  return provider.snapshots
}

const create = (resource: LibvirtResource, name = 'before') =>
  power.create(resource, { name, description: undefined }, session.run)
const restore = (resource: LibvirtResource, name = 'before') => power.restore(resource, name, session.run)
const stateOf = (resource: LibvirtResource) => session.virsh('domstate', '--reason', resource.name)
const dataOf = ({ handle }: LibvirtResource) => handle?.extraDisks.data ?? ''

/** Lists the names of the internal snapshots in a disk. */
async function statesIn(disk: string): Promise<string[]> {
  const listed = await session.program(['qemu-img', 'snapshot', '-U', '-l', disk])
  return [...listed.matchAll(/^\d+\s+(\S+)/gm)].map(([, name = '']) => name)
}

/** Deploys a machine with other options, and returns the machine. */
async function changed(resource: LibvirtResource, config: object): Promise<LibvirtResource> {
  const { wanted } = await planned(resource, config)
  return { ...wanted, handle: await session.provider.reconcile(wanted, carefully, session.run) }
}

describe('the disks of a restored machine', () => {
  it('are those of the snapshot: a newer one is detached, said before, and keeps its content', async () => {
    const resource = await make()
    await create(resource)
    const after = await changed(resource, { extraDisks: { data: 1 } })
    await writeDisk(session, dataOf(after), 'kept')
    expect(await power.losses(after, 'before', session.run)).toEqual([
      'disk data is newer: it is detached, and its file stays as it is',
    ])
    await restore(after)
    expect(await session.virsh('domblklist', after.name)).not.toContain(dataOf(after))
    expect(await readDisk(session, dataOf(after))).toBe('kept')
    expect(await session.provider.plan(after, session.run)).toEqual([
      { action: 'change', detail: 'disk data attached', needs: 'nothing' },
    ])
    await session.provider.reconcile(after, carefully, session.run)
    expect(await session.virsh('domblklist', after.name)).toContain(dataOf(after))
  })

  it('are attached again with their old content where they were detached since', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    await writeDisk(session, dataOf(resource), 'before')
    await create(resource)
    const without = await changed(resource, { extraDisks: {} })
    await writeDisk(session, dataOf(resource), 'after')
    await restore(without)
    expect(await session.virsh('domblklist', resource.name)).toContain(dataOf(resource))
    expect(await readDisk(session, dataOf(resource))).toBe('before')
  })

  it('have their old size, and the next plan grows them again', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    await session.provider.start(resource, session.run)
    await create(resource)
    const grown = await changed(resource, { extraDisks: { data: 2 }, baseImageSize: 2 })
    await restore(grown)
    expect(await stateOf(grown)).toContain('running')
    const details = (await session.provider.plan(grown, session.run)).map(({ detail }) => detail)
    expect(details).toEqual(['disk 1 GiB → 2 GiB', 'disk data 1 GiB → 2 GiB'])
  })

  it('are on the image at its current place', async () => {
    const resource = await make({ baseImageIdentity: 'nocloud' })
    await create(resource)
    await session.provider.start(resource, session.run)
    await create(resource, 'live')
    await restore(resource, 'live')
    expect(await stateOf(resource)).toContain('running')
    await restore(resource)
    expect(await stateOf(resource)).toContain('shut off')
  })
})

describe('a snapshot that cannot be restored as a whole', () => {
  it.each([
    ['was replaced', 'was replaced since'],
    ['is gone', 'is gone'],
  ])('is refused before anything is touched: the file of a disk %s', async (kind, why) => {
    const resource = await make({ extraDisks: { data: 1 } })
    await create(resource)
    rmSync(dataOf(resource))
    if (kind === 'was replaced')
      await session.provider.reconcile(resource, { ...carefully, allowRecreate: true }, session.run)
    await writeDisk(session, resource.handle?.disk ?? '', 'after')
    const refused = {
      code: 'SNAPSHOT_LOST',
      machine: resource.machine,
      message: expect.stringMatching(new RegExp(`snapshot 'before'.*${dataOf(resource)} ${why}`)),
    }
    await expect(power.losses(resource, 'before', session.run)).rejects.toMatchObject(refused)
    await expect(restore(resource)).rejects.toMatchObject(refused)
    expect(await readDisk(session, resource.handle?.disk ?? '')).toBe('after')
  })

  it('leaves a machine running that it cannot restore', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    await create(resource)
    const without = await changed(resource, { extraDisks: {} })
    await session.provider.start(without, session.run)
    const running = await session.virsh('domid', without.name)
    rmSync(dataOf(resource))
    await expect(restore(without)).rejects.toMatchObject({ code: 'SNAPSHOT_LOST' })
    expect(await session.virsh('domid', without.name)).toBe(running)
  })

  it('is one that another program made in files beside the disks', async () => {
    const resource = await make()
    const file = join(session.folder, 'beside.qcow2')
    await session.virsh(
      'snapshot-create-as',
      resource.name,
      'beside',
      '--disk-only',
      '--diskspec',
      `vda,file=${file}`,
    )
    expect(await power.list(resource, session.run)).toMatchObject([{ name: 'beside', memory: false }])
    await expect(restore(resource, 'beside')).rejects.toMatchObject({ code: 'SNAPSHOT_EXTERNAL' })
    expect(existsSync(file)).toBe(true)
  })
})

describe('a disk that is not a qcow2 file', () => {
  it('keeps a snapshot from being made, and the error says where the disk may come from', async () => {
    const raw = join(session.folder, 'raw.img')
    writeFileSync(raw, Buffer.alloc(1024 ** 2))
    const extraDevicesXML = `<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${raw}"/><target dev="vdz" bus="virtio"/></disk>`
    const resource = await make({ extraDevicesXML })
    await expect(create(resource)).rejects.toMatchObject({
      code: 'LIBVIRT',
      machine: resource.machine,
      hint: expect.stringContaining('extraDevicesXML'),
    })
    expect(await power.list(resource, session.run)).toEqual([])
    expect(await statesIn(resource.handle?.disk ?? '')).toEqual([])
  })
})

describe('the memory that libvirt saved of a machine', () => {
  it('keeps a snapshot of the disks alone from being made', async () => {
    const resource = await make()
    await session.provider.start(resource, session.run)
    await session.virsh('managedsave', resource.name)
    await expect(create(resource)).rejects.toMatchObject({
      code: 'SAVED_MEMORY',
      machine: resource.machine,
      hint: expect.stringContaining('hydra-ops start'),
    })
    expect(await power.list(resource, session.run)).toEqual([])
  })

  it('is removed by a restore, which says so: the memory belongs to other disks', async () => {
    const resource = await make()
    await create(resource)
    await session.provider.start(resource, session.run)
    await session.virsh('managedsave', resource.name)
    expect(await power.losses(resource, 'before', session.run)).toEqual(['its saved memory is removed'])
    await restore(resource)
    await session.provider.start(resource, session.run)
    expect(await stateOf(resource)).toContain('booted')
  })
})

describe('the ports of a restored machine', () => {
  it('are others where another program has them now, and then the definition has the others', async () => {
    const port = await freePort()
    const resource = await make({ forwardPorts: [{ host: port, guest: 80 }] })
    await session.provider.start(resource, session.run)
    await create(resource)
    await session.provider.stop(resource, { graceMs: 0 }, session.run)
    const taken = [resource.allocation.sshPort, port]
    for (const port of taken) await takePort(port)
    const allocation = await restore(resource)
    expect(allocation).toBeDefined()
    const now = { ...resource, allocation: allocation ?? resource.allocation }
    for (const port of session.provider.ports(now.allocation)) expect(taken).not.toContain(port)
    expect(await stateOf(now)).toContain('running')
    expect(await session.provider.plan(now, session.run)).toEqual([])
    expect(await session.virsh('dumpxml', '--inactive', now.name)).not.toContain(`:${taken[0]}-`)
  })
})

describe('states without a snapshot', () => {
  it('are replaced by a snapshot of their name, as after a crash of libvirt', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    const disk = resource.handle?.disk ?? ''
    await writeDisk(session, disk, 'stale')
    for (let time = 1; time <= 2; time += 1)
      await session.program(['qemu-img', 'snapshot', '-c', 'before', disk])
    await writeDisk(session, disk, 'fresh')
    await create(resource)
    expect(await statesIn(disk)).toEqual(['before'])
    await writeDisk(session, disk, 'later')
    await restore(resource)
    expect(await readDisk(session, disk)).toBe('fresh')
  })

  it('are not left behind in a disk that was detached since', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    await create(resource)
    const without = await changed(resource, { extraDisks: {} })
    await session.provider.start(without, session.run)
    await power.delete(without, 'before', session.run)
    expect(await power.list(without, session.run)).toEqual([])
    expect(await statesIn(dataOf(resource))).toEqual([])
    expect(await statesIn(resource.handle?.disk ?? '')).toEqual([])
  })
})

describe('a machine whose state folder was moved', () => {
  it('is restored at the new place, from snapshots of before, and its snapshots are deleted there', async () => {
    const resource = await make()
    const disk = resource.handle?.disk ?? ''
    await writeDisk(session, disk, 'before')
    await create(resource)
    await session.provider.start(resource, session.run)
    await create(resource, 'live')
    await session.provider.stop(resource, { graceMs: 0 }, session.run)
    await writeDisk(session, disk, 'after')
    const moved = move(resource)
    machines.tidy(moved)
    const there = moved.handle?.disk ?? ''
    await create(moved, 'there')
    await restore(moved, 'live')
    expect(await stateOf(moved)).toContain('running')
    expect(await session.virsh('dumpxml', moved.name)).not.toContain(`'${resource.disks}/`)
    await restore(moved)
    expect(await readDisk(session, there)).toBe('before')
    await restore(moved, 'there')
    expect(await readDisk(session, there)).toBe('after')
    for (const name of ['before', 'live', 'there']) await power.delete(moved, name, session.run)
    expect(await statesIn(there)).toEqual([])
    expect(existsSync(resource.disks)).toBe(false)
  })

  /** Moves the deployment's folder into another state folder; the image stays. */
  function move(resource: LibvirtResource): LibvirtResource {
    const { uuid } = resource.deployment
    const from = join(session.deployments, uuid)
    const to = join(session.folder, 'another state', 'deployments', uuid)
    mkdirSync(dirname(to), { recursive: true })
    renameSync(from, to)
    return JSON.parse(JSON.stringify(resource).replaceAll(`${from}/`, `${to}/`))
  }
})

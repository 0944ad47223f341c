import {
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LibvirtHandle } from '../../../providers/libvirt/config.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import { carefully as options } from './made-machines.js'
import { openSession, type Session } from './session.js'

let session: Session
let state: string
let elsewhere: string
let removable: LibvirtResource | undefined

beforeEach(async () => {
  session = await openSession()
  state = dirname(session.deployments)
  elsewhere = join(session.folder, 'other place', 'state (2)')
})
afterEach(async () => {
  if (removable !== undefined) await session.provider.destroy(removable, session.run)
  removable = undefined
  session.dispose()
})

/** Returns the resource as the store has it after its folder moved. */
function movedResource(resource: LibvirtResource, to = elsewhere): LibvirtResource {
  const there = (path: string) => (path.startsWith(`${state}/`) ? `${to}${path.slice(state.length)}` : path)
  const { handle, identity, image } = resource
  const paths = (value: object) =>
    JSON.parse(JSON.stringify(value), (_, each: unknown) => (typeof each === 'string' ? there(each) : each))
  return {
    ...resource,
    disks: there(resource.disks),
    console: there(resource.console),
    ...(handle === undefined ? {} : { handle: LibvirtHandle.parse(paths(handle)) }),
    identity: identity === undefined ? undefined : paths(identity),
    image: image === undefined ? undefined : paths(image),
  }
}

async function made(config: object = {}): Promise<LibvirtResource> {
  const given = await session.makeResource({ baseImageSize: 1, extraDisks: { data: 1 }, ...config })
  const resource = { ...given, handle: await session.provider.reconcile(given, options, session.run) }
  removable = resource
  return resource
}

function move(resource: LibvirtResource): LibvirtResource {
  renameFolder(state, elsewhere)
  removable = movedResource(resource)
  return removable
}

function renameFolder(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  renameSync(from, to)
}

/** Returns every file that the domain's definition names, and the backing files of its disk. */
async function filesOf({ name, handle }: LibvirtResource): Promise<string> {
  const xml = await session.virsh('dumpxml', '--inactive', name)
  const chain = await session.program([
    'qemu-img',
    'info',
    '-U',
    '--output=json',
    '--backing-chain',
    handle?.disk ?? '',
  ])
  return `${xml}${chain}`
}

/** Returns the file in which libvirt keeps the saved memory of a domain. */
function savedMemory(name: string): string {
  const config = process.env.XDG_CONFIG_HOME ?? join(homedir(), '.config')
  return join(config, 'libvirt', 'qemu', 'save', `${name}.save`)
}

const saysMoved = (needs: string) => [
  { action: 'change', detail: `the files of the machine were moved here from ${state}`, needs },
]

describe('a machine whose state folder was moved', () => {
  it('is reported as moved, is defined anew there, and loses nothing', async () => {
    const resource = await made()
    const disks = [resource.handle?.disk ?? '', resource.handle?.extraDisks.data ?? '']
    const inodes = disks.map((file) => statSync(file).ino)
    const moved = move(resource)
    expect(await session.provider.plan(moved, session.run)).toEqual(saysMoved('nothing'))
    const handle = await session.provider.reconcile(moved, options, session.run)
    expect(handle).toEqual(moved.handle)
    expect([handle.disk, handle.extraDisks.data ?? ''].map((file) => statSync(file).ino)).toEqual(inodes)
    expect(await filesOf({ ...moved, handle })).not.toContain(`${state}/`)
    expect(await session.provider.plan(moved, session.run)).toEqual([])
    expect(await session.provider.start(moved, session.run)).toBeUndefined()
    expect((await session.provider.inspect(moved, session.run)).kind).toBe('running')
    expect(existsSync(moved.console)).toBe(true)
    expect(existsSync(state)).toBe(false)
  })

  it('starts without a deploy, also from saved memory', async () => {
    const resource = await made()
    await session.provider.start(resource, session.run)
    await session.virsh('managedsave', resource.name)
    const moved = move(resource)
    await session.provider.start(moved, session.run)
    expect((await session.provider.inspect(moved, session.run)).kind).toBe('running')
    expect(await session.virsh('dumpxml', moved.name)).not.toContain(`'${state}/`)
    expect(await session.virsh('domstate', '--reason', moved.name)).toContain('restored')
    expect(existsSync(state)).toBe(false)
  })

  it('is defined anew by a deploy, and then starts from saved memory', async () => {
    const resource = await made()
    await session.provider.start(resource, session.run)
    await session.virsh('managedsave', resource.name)
    const moved = move(resource)
    await session.provider.reconcile(moved, options, session.run)
    await session.provider.start(moved, session.run)
    expect(await session.virsh('dumpxml', moved.name)).not.toContain(`'${state}/`)
    expect(await session.virsh('domstate', '--reason', moved.name)).toContain('restored')
    expect(existsSync(state)).toBe(false)
  })

  it('does not start without its saved memory when that memory cannot be read', async () => {
    const resource = await made()
    await session.provider.start(resource, session.run)
    await session.virsh('managedsave', resource.name)
    const moved = move(resource)
    const memory = savedMemory(moved.name)
    writeFileSync(memory, 'no memory at all')
    await expect(session.provider.start(moved, session.run)).rejects.toMatchObject({
      code: 'LIBVIRT',
      machine: moved.machine,
      message: expect.stringContaining(`cannot read the saved memory of domain '${moved.name}'`),
      hint: expect.stringContaining(`managedsave-remove ${moved.name}`),
    })
    expect(existsSync(memory)).toBe(true)
  })

  it('takes other changes along with the move', async () => {
    const moved = move(await made())
    const wanted = { ...moved, config: { ...moved.config, vcpu: 2, extraDisks: { data: 2 } } }
    const changes = (await session.provider.plan(wanted, session.run)).map(({ detail }) => detail)
    expect(changes).toEqual([
      'vCPU 1 → 2',
      `the files of the machine were moved here from ${state}`,
      'disk data 1 GiB → 2 GiB',
    ])
    await session.provider.reconcile(wanted, options, session.run)
    expect(await session.provider.plan(wanted, session.run)).toEqual([])
  })

  it('is destroyed with the files at the new place, and with no files elsewhere', async () => {
    const resource = await made()
    const copy = join(session.folder, 'copy')
    cpSync(state, copy, { recursive: true })
    const moved = move(resource)
    renameFolder(copy, state)
    await session.provider.destroy(moved, session.run)
    expect(existsSync(moved.disks)).toBe(false)
    expect(existsSync(resource.handle?.disk ?? '')).toBe(true)
    expect(await session.virsh('list', '--all', '--name')).not.toContain(moved.name)
  })

  it('stays as it was when the old name still leads to the new place', async () => {
    const resource = await made()
    const moved = move(resource)
    symlinkSync(elsewhere, state)
    expect(await session.provider.plan(moved, session.run)).toEqual([])
    expect(await session.provider.plan(resource, session.run)).toEqual([])
    await session.provider.reconcile(moved, options, session.run)
    expect(await session.virsh('dumpxml', '--inactive', moved.name)).toContain(`'${state}/`)
  })

  it('still loses nothing without a question when a file did not come along', async () => {
    const moved = move(await made())
    rmSync(moved.handle?.extraDisks.data ?? '')
    expect(await session.provider.plan(moved, session.run)).toContainEqual(
      expect.objectContaining({ needs: 'new-disk' }),
    )
    rmSync(moved.handle?.disk ?? '')
    expect(await session.provider.plan(moved, session.run)).toMatchObject([{ needs: 'recreate' }])
  })
})

describe('a machine that runs while its state folder is moved', () => {
  it('runs on, and takes the new place at its next start', async () => {
    const resource = await made()
    await session.provider.start(resource, session.run)
    const moved = move(resource)
    expect(await session.provider.plan(moved, session.run)).toEqual(saysMoved('restart'))
    await session.provider.reconcile(moved, options, session.run)
    expect((await session.provider.inspect(moved, session.run)).kind).toBe('running')
    expect(await session.provider.plan(moved, session.run)).toEqual(saysMoved('restart'))
    await session.virsh('destroy', moved.name)
    await session.provider.start(moved, session.run)
    expect(await session.provider.plan(moved, session.run)).toEqual([])
    expect(await filesOf(moved)).not.toContain(`${state}/`)
  })

  it('grows a disk while it runs', async () => {
    const resource = await made()
    await session.provider.start(resource, session.run)
    const moved = move(resource)
    const wanted = { ...moved, config: { ...moved.config, extraDisks: { data: 2 } } }
    await session.provider.reconcile(wanted, options, session.run)
    expect(await session.provider.plan(wanted, session.run)).toEqual(saysMoved('restart'))
    expect((await session.provider.inspect(wanted, session.run)).kind).toBe('running')
  })

  it('is refused when it writes to files other than those at the new place', async () => {
    const resource = await made()
    await session.provider.start(resource, session.run)
    renameFolder(state, `${state}.away`)
    cpSync(`${state}.away`, elsewhere, { recursive: true })
    const moved = movedResource(resource)
    const refused = {
      code: 'RUNS_ELSEWHERE',
      machine: moved.machine,
      message: expect.stringContaining(`${state}.away/`),
      hint: expect.stringContaining('hydra-ops stop'),
    }
    const before = readFileSync(moved.handle?.disk ?? '')
    await expect(session.provider.plan(moved, session.run)).rejects.toMatchObject(refused)
    await expect(session.provider.reconcile(moved, options, session.run)).rejects.toMatchObject(refused)
    expect(readFileSync(moved.handle?.disk ?? '').equals(before)).toBe(true)
    removable = moved
  })
})

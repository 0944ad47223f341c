import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { createLibvirtProvider } from '../../../providers/libvirt/index.js'
import type { LibvirtResource } from '../../../providers/libvirt/places.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { freePort } from '../../fixtures/free-port.js'
import { portHolder } from '../held-ports.js'
import { carefully, madeMachines } from './made-machines.js'
import { defineForeign, type Session } from './session.js'
import { transcript } from './transcripts.js'

const machines = madeMachines()
const { make, planned } = machines
const options = carefully
const takePort = portHolder()

let session: Session
beforeAll(() => {
  session = machines.session
})

describe('a plan', () => {
  it('describes each difference in words of its own', async () => {
    const resource = await make()
    const { wanted, changes } = await planned(resource, {
      vcpu: 2,
      memorySize: 96,
      networks: [],
      outbound: false,
      baseImageSize: 2,
      extraDisks: { data: 1 },
      autostart: true,
      forwardPorts: [{ host: 29_990, guest: 80 }],
    })
    expect(changes).toEqual(
      [
        'memory 64 → 96 MiB',
        'vCPU 1 → 2',
        'networks lan → none',
        'outbound allowed → not allowed',
        'disk data attached',
        'port 127.0.0.1:29990 → :80 opened',
        'disk 1 GiB → 2 GiB',
        'autostart on',
      ].map((detail) => ({ action: 'change', detail, needs: 'nothing' })),
    )
    await session.provider.reconcile(wanted, options, session.run)
    expect(await session.provider.plan(wanted, session.run)).toEqual([])
  })

  it('sees changes by hand, and reverts them', async () => {
    const resource = await make()
    const xml = join(session.folder, 'edited.xml')
    const text = await session.virsh('dumpxml', '--inactive', resource.name)
    writeFileSync(xml, text.replaceAll(/(<(?:memory|currentMemory) unit='KiB'>)\d+/g, '$1131072'))
    await session.virsh('define', xml)
    expect(await session.provider.plan(resource, session.run)).toEqual([
      { action: 'change', detail: 'memory 128 → 64 MiB', needs: 'nothing' },
    ])
    await session.provider.reconcile(resource, options, session.run)
    expect(await session.provider.plan(resource, session.run)).toEqual([])
  })

  it('reports an unnamed difference of the domain in general words', async () => {
    const resource = await make()
    const { changes } = await planned(resource, { headless: false })
    expect(changes).toEqual([{ action: 'change', detail: 'other options of the domain', needs: 'nothing' }])
  })

  it('asks for another machine when the base image changes, and reconcile refuses that', async () => {
    const resource = await make()
    const { wanted, changes } = await planned(resource, { baseImage: 'debian-12' })
    expect(changes).toEqual([
      { action: 'recreate', detail: 'base image empty → debian-12', needs: 'recreate' },
    ])
    await expect(session.provider.reconcile(wanted, options, session.run)).rejects.toMatchObject({
      code: 'NEEDS_RECREATE',
      machine: resource.machine,
    })
    expect(existsSync(resource.handle?.disk ?? '')).toBe(true)
  })

  it('refuses to shrink a disk', async () => {
    const resource = await make({ baseImageSize: 2, extraDisks: { data: 2 } })
    await expect(planned(resource, { baseImageSize: 1 })).rejects.toMatchObject({ exitCode: 2 })
    await expect(planned(resource, { extraDisks: { data: 1 } })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('disk data has 2 GiB'),
    })
  })

  it('keeps the file of a disk that is no longer wanted, and attaches it again', async () => {
    const resource = await make({ extraDisks: { data: 1 } })
    const file = resource.handle?.extraDisks.data ?? ''
    const without = (await planned(resource, { extraDisks: {} })).wanted
    const handle = await session.provider.reconcile(without, options, session.run)
    expect(await session.virsh('domblklist', resource.name)).not.toContain(file)
    expect(existsSync(file)).toBe(true)
    const again = await session.provider.reconcile({ ...resource, handle }, options, session.run)
    expect(again.extraDisks).toEqual({ data: file })
    expect(await session.virsh('domblklist', resource.name)).toContain(file)
  })
})

describe('a port that a stranger holds', () => {
  it('is replaced for ssh by another port, which is reported once and then in the definition', async () => {
    const resource = await make()
    await takePort(resource.allocation.sshPort)
    session.logged.length = 0
    const allocation = await session.provider.start(resource, session.run)
    expect(allocation?.sshPort).not.toBe(resource.allocation.sshPort)
    expect(session.logged.filter((line) => line.includes('another program holds port'))).toHaveLength(1)
    const moved = { ...resource, allocation: allocation ?? resource.allocation }
    expect(await session.provider.plan(moved, session.run)).toEqual([])
    expect((await session.provider.target(moved, session.run)).port).toBe(allocation?.sshPort)
    expect(await session.provider.start(moved, session.run)).toBeUndefined()
  })

  it('is replaced when the user chose it too, by a port of no other machine, and stays replaced', async () => {
    const port = await freePort()
    const resource = await make({ forwardPorts: [{ host: port, guest: 80 }] })
    await takePort(port)
    const next = 20_000 + ((port + 1) % 10_000)
    const handedOut = new Set([next])
    const allocation = await session.provider.start(resource, session.run, async () => handedOut)
    const [forward] = allocation?.forwardPorts ?? []
    const host = forward?.host ?? 0
    // Machines of other tests may use the next ports.
    expect(forward).toEqual({ host: expect.any(Number), guest: 80, asked: port })
    expect([port, next]).not.toContain(host)
    expect(session.logged).toContainEqual(
      `another program holds port ${port} of 127.0.0.1; port 80 of the guest uses port ${host} from now on`,
    )
    const moved = { ...resource, allocation: allocation ?? resource.allocation }
    expect(await session.provider.plan(moved, session.run)).toEqual([])
    const { wanted } = await planned(moved, { memorySize: 96 })
    expect(wanted.allocation.forwardPorts).toEqual([forward])
  })

  it('is an error that names machine and port when it is opened in a running guest', async () => {
    const resource = await make()
    await session.provider.start(resource, session.run)
    const port = await freePort()
    const { wanted } = await planned(resource, { forwardPorts: [{ host: port, guest: 80 }] })
    await takePort(port)
    await expect(session.provider.reconcile(wanted, options, session.run)).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: expect.stringMatching(new RegExp(`machine '${resource.machine}': port ${port} `)),
      hint: expect.stringContaining('forwardPorts'),
    })
  })
})

describe('the provider', () => {
  it('touches no foreign file in the place of a machine’s disks, and the error names it', async () => {
    const resource = await session.makeResource()
    mkdirSync(resource.disks, { recursive: true })
    const stranger = join(resource.disks, `${resource.name}.qcow2`)
    writeFileSync(stranger, 'precious')
    const named = expect.objectContaining({ code: 'FOREIGN', message: expect.stringContaining(stranger) })
    expect(await session.provider.inspect(resource, session.run)).toMatchObject({ kind: 'foreign' })
    await expect(session.provider.reconcile(resource, options, session.run)).rejects.toEqual(named)
    await expect(session.provider.destroy(resource, session.run)).rejects.toEqual(named)
    expect(readFileSync(stranger, 'utf8')).toBe('precious')
  })

  it('removes no disks of another machine, whatever the note beside them says', async () => {
    const one = await make()
    const two = await session.makeResource({}, { disks: one.disks })
    await expect(session.provider.destroy(two, session.run)).rejects.toMatchObject({ code: 'FOREIGN' })
    expect(existsSync(one.handle?.disk ?? '')).toBe(true)
  })

  it('touches no foreign volume of that name in a storage pool', async () => {
    const pool = `hydra-ops-test-${process.pid}`
    const folder = join(session.folder, 'pool')
    mkdirSync(folder)
    await session.virsh('pool-create-as', pool, 'dir', '--target', folder)
    try {
      const resource = await make({ storagePool: pool })
      expect(dirname(resource.handle?.disk ?? '')).toBe(folder)
      const other = await session.makeResource({ storagePool: pool })
      const stranger = join(folder, `${other.name}.qcow2`)
      writeFileSync(stranger, 'precious')
      await expect(session.provider.reconcile(other, options, session.run)).rejects.toMatchObject({
        code: 'FOREIGN',
        message: expect.stringContaining(stranger),
      })
      await session.provider.destroy(other, session.run)
      expect(readFileSync(stranger, 'utf8')).toBe('precious')
      await session.provider.destroy(resource, session.run)
      expect(existsSync(resource.handle?.disk ?? '')).toBe(false)
    } finally {
      await session.virsh('pool-destroy', pool)
    }
  })

  it('lists no foreign domain as ours', async () => {
    const resource = await session.makeResource()
    const foreign = await defineForeign(session, resource.name)
    const owned = (await session.provider.listOwned?.(session.run)) ?? []
    expect(owned.map(({ name }) => name)).not.toContain(resource.name)
    expect(await foreign.isUntouched()).toBe(true)
  })
})

describe('the identity of a machine', () => {
  it('lies in files that only their owner reads, and not in the domain', async () => {
    const resource = await make()
    const secret = readFileSync(resource.identity?.hostKeyFile ?? '', 'utf8')
    const credential = join(resource.disks, 'identity.tmpfiles')
    expect(readFileSync(credential, 'utf8')).toContain(Buffer.from(secret).toString('base64'))
    expect(statSync(credential).mode & 0o777).toBe(0o600)
    expect(statSync(resource.disks).mode & 0o777).toBe(0o700)
    expect(await session.virsh('dumpxml', resource.name)).not.toContain(secret.split('\n')[1])
  })

  it('is a seed disk for an image that needs a seed', async () => {
    const resource = await make({ baseImageIdentity: 'nocloud' })
    const seed = join(resource.disks, 'seed.iso')
    expect(await session.virsh('domblklist', resource.name)).toContain(seed)
    expect(statSync(seed).mode & 0o777).toBe(0o600)
    // cloud-init looks for this label where ISO 9660 stores the volume label.
    expect(readFileSync(seed).subarray(32_808, 32_814).toString()).toBe('cidata')
    expect(await session.provider.plan(resource, session.run)).toEqual([])
  })

  it('is written anew when its files are missing', async () => {
    const resource = await make()
    rmSync(join(resource.disks, 'identity.tmpfiles'))
    expect(await session.provider.plan(resource, session.run)).toMatchObject([
      { detail: expect.stringContaining('identity files are gone') },
    ])
    await session.provider.reconcile(resource, options, session.run)
    expect(await session.provider.plan(resource, session.run)).toEqual([])
  })
})

describe('a machine', () => {
  it('goes on when it was paused', async () => {
    const resource = await make()
    await session.provider.start(resource, session.run)
    await session.virsh('suspend', resource.name)
    expect(await session.provider.inspect(resource, session.run)).toEqual({
      kind: 'stopped',
      detail: 'paused',
    })
    await session.provider.start(resource, session.run)
    expect(await session.provider.inspect(resource, session.run)).toEqual({
      kind: 'running',
      detail: 'running',
    })
  })

  it('counts as started when another process starts it first', async () => {
    const resource = await make()
    await session.provider.start(resource, session.run)
    // dominfo prints this for a moment while a domain starts.
    const early = createLibvirtProvider({
      local: {
        run: async (argv, given) => {
          const result = await localCommands.run(argv, given)
          return argv.includes('dominfo')
            ? { ...result, stdout: result.stdout.replace('running', 'paused') }
            : result
        },
      },
    })
    expect((await early.inspect(resource, session.run)).kind).toBe('stopped')
    expect(await early.start(resource, session.run)).toBeUndefined()
    expect((await session.provider.inspect(resource, session.run)).kind).toBe('running')
  })

  it('has a serial console by the name of its domain', async () => {
    const resource = await make()
    expect(await session.provider.console?.command(resource)).toEqual([
      'virsh',
      '-c',
      'qemu:///session',
      'console',
      resource.name,
    ])
  })

  it('cannot be started before it was made', async () => {
    const resource = await session.makeResource()
    await expect(session.provider.start(resource, session.run)).rejects.toMatchObject({
      code: 'NOT_MADE',
      hint: 'hydra-ops deploy',
    })
  })

  it('is removed with its snapshots and its saved memory', async () => {
    const resource = await make()
    await session.virsh('snapshot-create-as', resource.name, 'before')
    await session.provider.start(resource, session.run)
    await session.virsh('managedsave', resource.name)
    await session.provider.destroy(resource, session.run)
    expect(await session.virsh('list', '--all', '--name')).not.toContain(resource.name)
    expect(existsSync(resource.disks)).toBe(false)
  })

  it('is removed with the variables of its firmware', async () => {
    const resource = await make()
    const undefines = await undefinesOfDestroy(resource)
    expect(undefines).toEqual([expect.arrayContaining(['--nvram', '--managed-save', '--snapshots-metadata'])])
    expect(await session.virsh('list', '--all', '--name')).not.toContain(resource.name)
  })

  it('is removed by a driver of libvirt that knows no variables of a firmware', async () => {
    const resource = await make()
    const refusal = transcript('testdriver', 'undefine t1 --nvram').result
    const undefines = await undefinesOfDestroy(resource, (argv) =>
      argv.includes('--nvram') ? refusal : undefined,
    )
    expect(undefines).toHaveLength(2)
    expect(undefines[1]).toEqual(expect.arrayContaining(['--managed-save', '--snapshots-metadata']))
    expect(undefines[1]).not.toContain('--nvram')
    expect(await session.virsh('list', '--all', '--name')).not.toContain(resource.name)
    expect(existsSync(resource.disks)).toBe(false)
  })
})

/** Destroys a machine; returns the calls of `virsh undefine`. `answer` replaces the result of such a call. */
async function undefinesOfDestroy(
  resource: LibvirtResource,
  answer: (argv: readonly string[]) => CommandResult | undefined = () => undefined,
): Promise<(readonly string[])[]> {
  const undefines: (readonly string[])[] = []
  const { destroy } = createLibvirtProvider({
    local: {
      run: async (argv, given) => {
        if (!argv.includes('undefine')) return localCommands.run(argv, given)
        undefines.push(argv)
        return answer(argv) ?? localCommands.run(argv, given)
      },
    },
  })
  await destroy(resource, session.run)
  return undefines
}

describe('a libvirt that does not answer', () => {
  const uri = 'qemu+unix:///system?socket=/nonexistent/libvirt-sock'

  it('makes the state of a machine unknown, and every step an error that says how to start libvirt', async () => {
    const resource = await session.makeResource({ URI: uri })
    expect(await session.provider.inspect(resource, session.run)).toMatchObject({
      kind: 'unknown',
      reason: expect.stringContaining('systemctl start libvirtd'),
    })
    await expect(session.provider.reconcile(resource, options, session.run)).rejects.toMatchObject({
      code: 'LIBVIRT_DAEMON',
    })
  })

  it('is found by doctor, with the command that fixes it', async () => {
    const asRoot = createLibvirtProvider({
      local: {
        run: (argv, given) =>
          localCommands.run(
            argv.map((word) => (word === 'qemu:///system' ? uri : word)),
            given,
          ),
      },
      uid: 0,
    })
    const findings = (await asRoot.doctor?.(session.run)) ?? []
    expect(findings.find(({ id }) => id === 'libvirt.daemon')).toMatchObject({
      level: 'problem',
      mend: expect.stringMatching(/systemctl start libvirtd.*without systemd.*libvirtd -d/),
    })
    expect(await asRoot.listOwned?.(session.run)).toEqual([])
  })
})

it('doctor finds a working session and its emulator, and reports its view of KVM', async () => {
  const findings = (await session.provider.doctor?.(session.run)) ?? []
  expect(findings.map(({ id }) => id)).toEqual(['libvirt.daemon', 'libvirt.emulator', 'libvirt.kvm'])
  expect(findings.filter(({ level }) => level === 'problem')).toEqual([])
})

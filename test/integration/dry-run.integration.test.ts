import { createHash } from 'node:crypto'
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { removeStore } from '../../nix/temporary-store.js'
import { type RealCli, realCli } from '../cli/real-cli.js'
import { openSession, type Session } from '../providers/libvirt/session.js'

let session: Session
let cli: RealCli
let env: Record<string, string>
let uuid: string

beforeAll(async () => {
  session = await openSession()
  // The daemon starts before the first snapshot, because libvirt writes files when it starts.
  await session.virsh('list')
})
afterAll(() => session.dispose())

/** Sets up a new user's home, temporary folder and state; libvirt is the tester's. */
async function newUser(): Promise<void> {
  cli = realCli()
  const home = join(cli.folder, 'home')
  const tmp = join(cli.folder, 'tmp')
  for (const folder of [join(home, '.cache'), tmp]) mkdirSync(folder, { recursive: true })
  symlinkSync(join(homedir(), '.cache', 'libvirt'), join(home, '.cache', 'libvirt'))
  // tsx runs the uncompiled code of the tests, and would otherwise write a cache.
  env = { HOME: home, TMPDIR: tmp, TSX_DISABLE_CACHE: '1' }
  await must('create', cli.network, '-d', 'lab')
  uuid = (await must('list', '--plain')).split('\t')[0] ?? ''
}

async function must(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli.run(argv, { env })
  if (code !== 0) throw new Error(`hydra-ops ${argv.join(' ')} exited with ${code}: ${stderr}${stdout}`)
  return stdout
}

function network(machines: string): void {
  writeFileSync(
    cli.network,
    `{ defaults.deployment = {
         os = "debian";
         targetEnv = "libvirtd";
         libvirtd = { baseImage = "${session.image.disk}"; baseImageIdentity = "fwcfg"; domainType = "qemu"; networks = [ ]; outbound = false; baseImageSize = 1; };
         keys.secret.keyCommand = [ "touch" "${join(cli.folder, 'the key command ran')}" ];
       };
       ${machines} }`,
  )
}

/** Returns mode, size, time and bytes of every file and folder below a folder; links are not followed. */
function snapshot(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true })
  const paths = [folder, ...entries.map(({ parentPath, name }) => join(parentPath, name))]
  return Object.fromEntries(paths.map((path) => [path, describeFile(path)]))
}

function describeFile(path: string): string {
  const stat = lstatSync(path)
  const facts: (string | number)[] = [stat.mode.toString(8), stat.size]
  // SQLite creates files beside Nix's database when it opens the database, and removes these files at the end.
  if (!path.endsWith('/nix/var/nix/db')) facts.push(stat.mtimeMs)
  if (stat.isSymbolicLink()) facts.push(readlinkSync(path))
  if (stat.isFile()) facts.push(createHash('sha256').update(readFileSync(path)).digest('hex'))
  return facts.join(' ')
}

/** Returns the domains of this deployment with their definitions; other tests use the same libvirt meanwhile. */
async function libvirtListing(): Promise<string[]> {
  const names = await domains('--all')
  const seen = names.map((name) =>
    Promise.all([session.virsh('dominfo', name), session.virsh('dumpxml', '--inactive', name)]),
  )
  return [...names, ...(await Promise.all(seen)).flat()]
}

async function domains(...flags: string[]): Promise<string[]> {
  return (await session.virsh('list', ...flags, '--name')).split('\n').filter((name) => name.includes(uuid))
}

const dry = [
  ['plan'],
  ['plan', '--json', '--kill-obsolete'],
  ['deploy', '--dry-run', '--yes'],
  ['deploy', '--dry-run', '--yes', '--allow-recreate', '--allow-reboot', '--kill-obsolete'],
  ['deploy', '--dry-run', '--yes', '--create-only'],
]

async function expectNothingWritten(says: RegExp): Promise<void> {
  const look = async () => ({ files: snapshot(cli.folder), libvirt: await libvirtListing() })
  const before = await look()
  for (const argv of dry) {
    expect(await must(...argv, '-d', 'lab')).toMatch(says)
    expect([argv, await look()]).toEqual([argv, before])
  }
}

describe('plan and deploy --dry-run write nothing anywhere', () => {
  beforeAll(newUser)
  afterAll(async () => {
    await must('destroy', '--yes', '-d', 'lab')
    await removeStore(cli.folder)
  })

  it('before the first deploy: no Nix store, no image, no key and no lock', async () => {
    network('web = { deployment.libvirtd.memorySize = 64; };')
    await expectNothingWritten(/create/)
  })

  it('when machines are to be changed, made and destroyed', async () => {
    network('web = { deployment.libvirtd.memorySize = 64; }; old = { deployment.libvirtd.memorySize = 64; };')
    await must('deploy', '--yes', '--create-only', '-d', 'lab')
    // The guests are off, so that only hydra-ops could write to their files.
    for (const name of await domains()) await session.virsh('destroy', name)
    network('web = { deployment.libvirtd.memorySize = 96; }; new = { deployment.libvirtd.memorySize = 64; };')
    await expectNothingWritten(/memory 64 → 96 MiB/)
  })
})

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createEvaluator } from '../../../nix/evaluate.js'
import { createNixCommand } from '../../../nix/nix-command.js'
import { removeStore } from '../../../nix/temporary-store.js'
import { LibvirtConfig } from '../../../providers/libvirt/config.js'
import { SshConfig } from '../../../providers/ssh/config.js'
import type { DebianMachine } from '../../../src/core/definition.js'
import { jsonSchema } from '../../../src/core/json.js'
import { packageRoot } from '../../../src/core/package-root.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import type { HydraFlags } from '../../../src/operations/init/hydra-answers.js'
import { initHydra } from '../../../src/operations/init/init-hydra.js'
import { debianDefinition } from '../../../src/systems/debian/definition.js'
import { type RealCli, realCli } from '../../cli/real-cli.js'
import { createFakeOps, type FakeOps } from '../../fakes/fake-ops.js'
import { openSession, type Session } from '../../providers/libvirt/session.js'

const standIn = `(import ${join(packageRoot(), 'test/fixtures/packages')} { }).hydra`

describe('the expression that init hydra writes', () => {
  let folder: string
  let ops: FakeOps
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), 'ho-init-'))
    ops = await createFakeOps()
    Object.assign(ops.local, { run: localCommands.run })
  })
  afterEach(async () => {
    ops.cleanup()
    await removeStore(folder)
  })

  /** Returns the machine in the file, as deploy would read it. */
  async function machineOf(flags: HydraFlags): Promise<DebianMachine> {
    const file = join(folder, 'hydra.nix')
    rmSync(file, { force: true })
    await initHydra(ops, { file, folder, state: undefined, flags })
    const env = { NIX_REMOTE: join(folder, 'nix'), NIX_CONFIG: 'substituters =' }
    const evaluate = createEvaluator({
      command: createNixCommand({ local: localCommands, stateRoot: folder, env }),
      providers: [
        {
          ...{ name: 'libvirt', targetEnvs: ['libvirtd'], optionKey: 'libvirtd' },
          configSchema: LibvirtConfig.transform((config) => jsonSchema.parse(config)),
        },
        {
          ...{ name: 'ssh', targetEnvs: ['none'], optionKey: undefined },
          configSchema: SshConfig.transform((config) => jsonSchema.parse(config)),
        },
      ],
    })
    const network = await evaluate(
      {
        ...{ files: [file], searchPath: [], args: {}, physical: {}, mode: 'read' },
        deployment: { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'lab' },
        flags: { showTrace: false, options: [] },
      },
      { signal: new AbortController().signal, log: () => {} },
    )
    const [machine, ...others] = network.machines.values()
    if (machine === undefined) throw new Error('no machine')
    expect(others).toEqual([])
    return debianDefinition(machine)
  }

  it('evaluates unchanged, without nixpkgs and without a package', async () => {
    const { options, provider } = await machineOf({ admin: 'alice' })
    expect(provider).toMatchObject({ forwardPorts: [{ host: 8080, guest: 80 }], memorySize: 3072 })
    expect(options.hydra).toMatchObject({
      ...{ enable: true, package: null, hostName: 'hydra.localhost' },
      ...{ cache: { enable: true }, nginx: { enable: true } },
      admin: { userName: 'alice', roles: ['admin'], password: { generate: true } },
    })
  })

  it.each([
    ['an expression', standIn],
    ['one with a comment at its end', `${standIn} # a stand-in`],
    [
      'one of several lines',
      `let\n  name = "hydra";\nin\n(import ${join(packageRoot(), 'test/fixtures/packages')} { }).\${name}`,
    ],
  ])('has the package given as %s', async (_, text) => {
    const { options } = await machineOf({ admin: 'alice', package: text })
    expect(options.hydra.package).toMatch(/^\/nix\/store\/[0-9a-z]{32}-hydra-stand-in-/)
  })

  it('may take its package from nixpkgs, which the host then must have', async () => {
    await expect(machineOf({ admin: 'alice', package: 'pkgs.hydra' })).rejects.toThrow(/nixpkgs/)
  })

  it.each(['hydra', 'a; evil = 1', '1); evil = (2', '"', 'a }'])('refuses the package %j', async (text) => {
    await expect(machineOf({ admin: 'alice', package: text })).rejects.toMatchObject({
      exitCode: 2,
      message: expect.stringContaining('--package: the text is not a valid Nix expression'),
    })
  })

  /** Text that Nix could read as syntax, and any other text of one line. */
  const part = fc.constantFrom('$', '{', '}', '"', '\\', "''", '#', '/*', ' ', '\t', ';', 'a', 'ß', '𝄞')
  const line = fc.oneof(
    fc.array(part, { maxLength: 10 }).map((parts) => parts.join('')),
    fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll(/[\0\n\r]/g, '')),
  )

  it('contains every given text unchanged', async () => {
    await fc.assert(
      fc.asyncProperty(line, line, line, async (fullName, host, name) => {
        const targetHost = `h${host.replaceAll(/\s/gu, '')}`
        const file = join(folder, `p${name.replaceAll('/', '').slice(0, 50)}`)
        writeFileSync(file, 'secret\n')
        const { options } = await machineOf({
          ...{ provider: 'none', targetHost, hostName: 'hydra.example.org', admin: 'alice' },
          ...{ fullName, password: `file:${file}` },
        })
        expect(options).toMatchObject({
          targetHost,
          hydra: { admin: { fullName, password: { file } } },
        })
      }),
      { numRuns: 12 },
    )
  })
})

describe('the sequence of init, create and plan', () => {
  let session: Session
  let cli: RealCli
  beforeAll(async () => {
    session = await openSession()
    cli = realCli()
  })
  afterAll(async () => {
    await removeStore(cli.folder)
    await session.dispose()
  })

  it('shows the machines that deploy would make', async () => {
    const file = join(cli.folder, 'farm.nix')
    const flags = ['--admin', 'alice', '--http-port', '28080', '--package', standIn]
    const written = await cli.run(['init', 'hydra', file, ...flags])
    expect(written).toMatchObject({ code: 0, stderr: `wrote ${file}; check the file, then run:\n` })
    const [create = '', deploy = ''] = written.stdout.trimEnd().split('\n')
    expect([create, deploy]).toEqual([`hydra-ops create ${file} -d farm`, 'hydra-ops deploy -d farm'])
    const words = (line: string) => line.split(' ').slice(1)
    expect((await cli.run(words(create))).code).toBe(0)
    // The test uses the tester's libvirt.
    const plan = await cli.run([...words(deploy), '--dry-run'], { env: { HOME: homedir() } })
    expect(plan).toMatchObject({ code: 0 })
    expect(plan.stdout).toMatch(/ libvirt +create +3072 MiB, 2 vCPU, 20 GiB/)
    for (const task of ['postgresql', 'cache-key', 'hydra', 'nginx', 'admin-user'])
      expect(plan.stdout).toContain(task)
  })

  it('refuses to overwrite the file, and names the missing flag without a terminal', async () => {
    const file = join(cli.folder, 'twice.nix')
    expect((await cli.run(['init', 'hydra', file, '--admin', 'alice', '--json'])).code).toBe(0)
    expect(await cli.run(['init', 'hydra', file, '--admin', 'alice'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('it was not overwritten\nhint: '),
    })
    expect(await cli.run(['init', 'hydra', join(cli.folder, 'third.nix')])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('these flags are missing: --admin NAME'),
    })
  })
})

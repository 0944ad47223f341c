import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { DebianMachine, NetworkDefinition } from '../../src/core/definition.js'
import { MachineName } from '../../src/core/names.js'
import { nixString } from '../../src/core/nix-string.js'
import { debianDefinition } from '../../src/systems/debian/definition.js'
import { createNixSandbox, listing, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox()
})
afterEach(() => nix.dispose())

function web(network: NetworkDefinition): DebianMachine {
  const machine = network.machines.get(MachineName.parse('web'))
  if (machine === undefined) throw new Error('no machine web')
  return debianDefinition(machine)
}

const tool = `(derivation { name = "tool"; system = builtins.currentSystem; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ]; })`

describe('the store of an evaluation', () => {
  it('stays unborn while nothing is deployed, and a deploy finds the same derivation', async () => {
    nix.write(
      'hydra.nix',
      `{ web.deployment = { os = "debian"; packages = [ ${tool} ]; units."a.service".text = "ExecStart=\${${tool}}"; files."/x".source = ./hydra.nix; }; }`,
    )
    const shape = web(await nix.evaluate('hydra.nix', { mode: 'shape' }))
    const read = web(await nix.evaluate('hydra.nix', { mode: 'read' }))
    expect(listing(nix.storeFolder)).toEqual([])
    expect(shape.drvPath).toBeUndefined()
    const written = web(await nix.evaluate('hydra.nix', { mode: 'write' }))
    expect(written.drvPath).toMatch(/^\/nix\/store\/.*\.drv$/)
    expect([read.drvPath, read.outPath, read.files, read.units, read.packageCount]).toEqual([
      written.drvPath,
      written.outPath,
      written.files,
      written.units,
      1,
    ])
    const before = listing(nix.storeFolder)
    expect(before.some((line) => line.includes('hydra-ops-web.drv'))).toBe(true)
    expect(web(await nix.evaluate('hydra.nix', { mode: 'read' })).drvPath).toBe(written.drvPath)
    expect(listing(nix.storeFolder)).toEqual(before)
  })

  it('evaluates an unchanged deploy once', async () => {
    nix.write('hydra.nix', '{ web.deployment = { os = "debian"; files."/x".text = "1"; }; }')
    await nix.evaluate('hydra.nix', { mode: 'write' })
    const before = nix.started.length
    await nix.evaluate('hydra.nix', { mode: 'write' })
    expect(nix.started.slice(before)).toEqual(['nix-instantiate', 'nix-store'])
  })

  it('holds every path that the derivation needs', async () => {
    nix.write('hydra.nix', '{ web.deployment = { os = "debian"; files."/x".source = ./payload; }; }')
    nix.write('payload', 'the payload of a file')
    const { drvPath, outPath } = web(await nix.evaluate('hydra.nix', { mode: 'write' }))
    const options = { signal: new AbortController().signal, timeoutMs: 120_000, what: 'build' }
    const built = await nix.command.run('nix-store', ['--realise', drvPath ?? ''], options)
    expect(built).toMatchObject({ kind: 'exited', code: 0, stdout: `${outPath}\n` })
  })

  it('has the program of a health check, which no other reference names', async () => {
    const drvPath = async (checks: string) => {
      nix.write('hydra.nix', `{ web.deployment = { os = "debian"; ${checks} }; }`)
      return web(await nix.evaluate('hydra.nix', { mode: 'write' })).drvPath
    }
    const plain = await drvPath('healthChecks.cmd = [ { cmd = [ "true" ]; } ];')
    expect(await drvPath('healthChecks.cmd = [ { cmd = [ "false" ]; } ];')).toBe(plain)
    const checked = await drvPath(`healthChecks.cmd = [ { cmd = [ "\${${tool}}" "-v" ]; } ];`)
    expect(checked).not.toBe(plain)
    expect(await drvPath(`preDeployChecks.cmd = [ { cmd = [ "\${${tool}}" "-q" ]; } ];`)).toBe(checked)
  })

  it('never gets a key file, a base image or the text of a key', async () => {
    nix.write('password', 'hush-in-a-file')
    nix.write('image.qcow2', 'hush-the-image')
    nix.write(
      'hydra.nix',
      `{ web.deployment = { os = "debian"; targetEnv = "libvirtd"; libvirtd.baseImage = ./image.qcow2;
           keys.a.keyFile = ./password; keys.b.text = "hush-in-a-text"; files."/x".text = "public"; files."/y".source = ./public; }; }`,
    )
    nix.write('public', 'public-source')
    const machine = web(await nix.evaluate('hydra.nix', { mode: 'write' }))
    expect(machine.provider).toEqual({ baseImage: join(nix.folder, 'image.qcow2') })
    expect(machine.options.keys.a?.keyFile).toBe(join(nix.folder, 'password'))
    expect(machine.options.keys.b?.text).toBe('hush-in-a-text')
    const store = join(nix.storeFolder, 'nix')
    const everything = readdirSync(store, { recursive: true, withFileTypes: true, encoding: 'utf8' })
      .filter((entry) => entry.isFile())
      .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
      .join('\n')
    expect(everything).toContain('public-source')
    expect(everything).not.toContain('hush')
  })

  it('is never filled from the net: an evaluation asks no substituter', async () => {
    const requests: string[] = []
    const server = createServer((request, response) => {
      requests.push(request.url ?? '')
      response.writeHead(404).end()
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const { port } = server.address() as AddressInfo
    const asking = createNixSandbox(`substituters = http://127.0.0.1:${port}`)
    try {
      asking.write('hydra.nix', `{ web.deployment = { os = "debian"; packages = [ ${tool} ]; }; }`)
      for (const mode of ['shape', 'read', 'write', 'write', 'read'] as const) {
        await asking.evaluate('hydra.nix', { mode })
      }
      expect(requests).toEqual([])
      const { drvPath } = web(await asking.evaluate('hydra.nix'))
      const options = { signal: new AbortController().signal, timeoutMs: 120_000, what: 'build' }
      await asking.command.run('nix-store', ['--realise', drvPath ?? ''], options)
      // A build does query the cache, so the empty list above is meaningful.
      expect(requests).not.toEqual([])
    } finally {
      server.close()
      await asking.dispose()
    }
  })
})

describe('an expression that needs a store while it is evaluated', () => {
  const fetching = (folder: string) =>
    `{ web.deployment = { os = "debian"; targetHost = import (fetchTarball "file://${folder}/source.tgz") + ""; }; }`
  beforeEach(() => {
    // Nix keeps its downloads in the user's cache, and hydra-ops keeps its temporary store in TMPDIR.
    vi.stubEnv('XDG_CACHE_HOME', join(nix.folder, 'cache'))
    vi.stubEnv('TMPDIR', join(nix.folder, 'tmp'))
    mkdirSync(join(nix.folder, 'tmp'))
    nix.write('source/default.nix', '"192.0.2.3"')
    execFileSync('tar', ['-czf', join(nix.folder, 'source.tgz'), '-C', nix.folder, 'source'])
  })
  afterEach(() => {
    vi.unstubAllEnvs()
  })

  it('can be read before a store exists, and leaves nothing', async () => {
    nix.write('hydra.nix', fetching(nix.folder))
    for (const mode of ['shape', 'read'] as const) {
      expect(web(await nix.evaluate('hydra.nix', { mode })).options.targetHost).toBe('192.0.2.3')
    }
    expect(listing(nix.storeFolder)).toEqual([])
    expect(readdirSync(join(nix.folder, 'tmp'))).toEqual([])
  })

  it('can be deployed', async () => {
    nix.write('hydra.nix', fetching(nix.folder))
    const machine = web(await nix.evaluate('hydra.nix', { mode: 'write' }))
    expect(machine.options.targetHost).toBe('192.0.2.3')
    expect(
      listing(nix.storeFolder).some((line) => line.includes(`${machine.drvPath?.split('/').at(-1)}`)),
    ).toBe(true)
  })

  it('may build something: a deploy does, and a dry run on an existing store says that it cannot', async () => {
    nix.write('hydra.nix', `{ web.deployment = { os = "debian"; targetPort = import ${tool}; }; }`)
    nix.write('plain.nix', '{ web.deployment.os = "debian"; }')
    await nix.evaluate('plain.nix', { mode: 'write' })
    const refused = await nix.refusal('hydra.nix', { mode: 'read' })
    expect(refused.message).toContain('needs a build during its evaluation')
    expect(web(await nix.evaluate('hydra.nix', { mode: 'write' })).options.targetPort).toBe(1)
    expect(web(await nix.evaluate('hydra.nix', { mode: 'read' })).options.targetPort).toBe(1)
  })
})

describe('the texts of an expression', () => {
  /** Any text that a Nix string can hold: all of Unicode but NUL. */
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }).map((value) => value.replaceAll('\0', '')),
    fc
      .array(
        fc.constantFrom('$', '{', '}', '"', "'", '\\', '\n', '\r', '`', '$(id)', "''", '${', 'é', '日'),
        { maxLength: 12 },
      )
      .map((parts) => parts.join('')),
  )
  const fileName = fc
    .tuple(text, fc.nat(1_000_000))
    .map(([name, number]) => `/etc/${name.replaceAll('/', '')}-${number}`)

  it('arrive byte for byte from files and their paths', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fileName, text, { minKeys: 1, maxKeys: 12, noNullPrototype: true }),
        async (files) => {
          const definitions = Object.entries(files).map(
            ([path, content]) => `files.${nixString(path)}.text = ${nixString(content)};`,
          )
          nix.write('hydra.nix', `{ web.deployment = { os = "debian"; ${definitions.join('\n')} }; }`)
          const machine = web(await nix.evaluate('hydra.nix'))
          const hashes = Object.entries(machine.files).map(([path, { hash }]) => [path, hash])
          expect(Object.fromEntries(hashes)).toEqual(
            Object.fromEntries(Object.entries(files).map(([path, content]) => [path, sha256(content)])),
          )
        },
      ),
      { numRuns: 15 },
    )
  })

  it('arrive byte for byte from function arguments and keys', async () => {
    nix.write('hydra.nix', '{ value }: { web.deployment = { os = "debian"; keys.a.text = value; }; }')
    await fc.assert(
      fc.asyncProperty(text, async (value) => {
        const network = await nix.evaluate('hydra.nix', { mode: 'shape', args: { value: nixString(value) } })
        expect(web(network).options.keys.a?.text).toBe(value)
      }),
      { numRuns: 25 },
    )
  })

  it('arrive byte for byte from sources, whatever their file is called', async () => {
    const name = 'a "strange" $(name) with spaces é'
    nix.write(name, 'payload\n')
    chmodSync(join(nix.folder, name), 0o640)
    nix.write(
      'hydra.nix',
      `{ web.deployment = { os = "debian"; files."/x".source = ./. + ${nixString(`/${name}`)}; }; }`,
    )
    const machine = web(await nix.evaluate('hydra.nix'))
    expect(machine.files['/x']).toEqual({
      hash: sha256('payload\n'),
      mode: '0644',
      user: 'root',
      group: 'root',
    })
  })
})

it('lines that the expression traces reach the log, and nothing else does', async () => {
  nix.write(
    'hydra.nix',
    '{ web.deployment = { os = "debian"; targetHost = builtins.trace "look here" "x"; keys.a.text = "hush"; }; }',
  )
  await nix.evaluate('hydra.nix')
  expect(nix.logged).toEqual(['trace: look here'])
})

it('two hundred machines are evaluated by one process', async () => {
  nix.write(
    'hydra.nix',
    `{ defaults = { config, lib, nodes, ... }: { deployment = { os = "debian"; tags = lib.mkBefore [ "all" ]; units."a.service".text = nodes.m0.config.networking.hostName;
         keys.k = lib.mkIf (config.networking.hostName != "m7") { text = "x"; }; }; }; }
     // builtins.listToAttrs (builtins.genList (n: { name = "m\${toString n}"; value.networking.privateIPv4 = "192.0.2.\${toString n}"; }) 200)`,
  )
  const network = await nix.evaluate('hydra.nix')
  expect(network.machines.size).toBe(200)
  expect(nix.started).toEqual(['nix-instantiate'])
})

function sha256(content: string): string {
  return createHash('sha256').update(content, 'utf8').digest('hex')
}

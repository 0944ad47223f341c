import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as z from 'zod'
import { type OperatorHost, operatorHost } from '../e2e/operator.js'
import { commitAll, type HydraHost, hydraHost } from '../nix/network-in-git.js'
import { machineOf } from '../nix/nixos-networks.js'
import { builtInProviders, createNixSandbox, type NixSandbox } from '../nix/real-nix.js'
import { document, nixpkgsAddress, nixpkgsBranch, writeMorphNetwork, writeNixpkgs } from './morph-files.js'
import { readerShell } from './reader-shell.js'
import type { ShellSession } from './shell-session.js'
import { missingLine, type Step, stepsOf } from './walkthrough.js'

/**
 * These tests run the commands of docs/morph.md that need no machine. Hydra and a deploy evaluate the document's
 * network.
 */
const minutes = 60_000

let nix: NixSandbox
let operator: OperatorHost
let hydra: HydraHost
let shell: ShellSession
let nixpkgs: string

beforeAll(async () => {
  nix = createNixSandbox('', builtInProviders)
  operator = operatorHost()
  nixpkgs = join(operator.folder, 'nixpkgs')
  // No package for ARM is built here, so the program need not run.
  writeNixpkgs(nixpkgs, (file) => writeFileSync(file, 'a program for ARM'))
  hydra = hydraHost(nixpkgs)
  writeMorphNetwork(nix.folder)
  commitAll(nix.folder)
  shell = readerShell(operator, nix.folder, { NIX_PATH: `nixpkgs=${nixpkgs}` })
  await shell.run('hydra-ops create network.nix ci.nix -d home', minutes)
  const { commands, prints } = stepWith('hydra jobs init')
  expect(missingLine(prints, await shell.run(commands, 5 * minutes))).toBeUndefined()
  commitAll(nix.folder)
}, 10 * minutes)
afterAll(async () => {
  shell?.dispose()
  operator?.dispose()
  await nix?.dispose()
  await hydra?.dispose()
})

function stepWith(text: string): Step {
  const [step, ...others] = stepsOf(document).filter(({ commands }) => commands.includes(text))
  if (step === undefined || others.length > 0)
    throw new Error(`docs/morph.md has no single step with '${text}'`)
  return step
}

const Facts = z.object({
  deployment: z.object({ name: z.string(), uuid: z.string() }),
  machines: z.record(z.string(), z.looseObject({})),
})
const Jobset = z.looseObject({
  nixexprpath: z.string(),
  checkinterval: z.number(),
  inputs: z.record(z.string(), z.looseObject({ type: z.string(), value: z.string() })),
})

const textOf = (path: string) => readFileSync(join(nix.folder, path), 'utf8')

/** Returns a derivation and all derivations that it depends on. */
function derivationsOf(path: string): string[] {
  const words = ['--query', '--requisites', path]
  const shown = execFileSync('nix-store', words, { encoding: 'utf8', env: hydra.env })
  return shown.split('\n').filter((each) => each.endsWith('.drv'))
}

/** Returns the texts of the derivations of a system's /etc files, among them nix.conf. */
const nixConf = (path: string) =>
  derivationsOf(path)
    .filter((each) => each.endsWith('-etc-file.drv'))
    .map((each) => readFileSync(hydra.fileOf(each), 'utf8'))
    .join('\n')

describe('the jobsets of the document', () => {
  it('are printed as the document shows them', async () => {
    const { commands, prints } = stepWith('grep -e nixexprpath')
    const output = await shell.run(commands, minutes)
    expect(missingLine(prints, output), output).toBeUndefined()
  })

  it("have the layout of Morph's users: one for each machine, two inputs, and an hour between two looks", () => {
    const spec = z.record(z.string(), Jobset).parse(JSON.parse(textOf('hydra/spec.json')))
    expect(Object.keys(spec)).toEqual(['ci', 'pi'])
    expect(spec.pi).toMatchObject({
      nixexprpath: 'hydra/pi.nix',
      checkinterval: 3600,
      inputs: {
        network: { type: 'git', value: '/srv/network.git main' },
        nixpkgs: { type: 'git', value: `${nixpkgsAddress} ${nixpkgsBranch}` },
      },
    })
    expect(Object.keys(spec.pi?.inputs ?? {}).sort()).toEqual(['network', 'nixpkgs'])
    expect(textOf('hydra/pi.nix')).toContain('import ./default.nix (inputs // { machine = "pi"; })')
  })
})

describe('the network of the document', () => {
  it('gives Hydra and a deploy one derivation of each machine', async () => {
    const { deployment, machines } = Facts.parse(JSON.parse(textOf('hydra/machines.json')))
    const found = await nix.evaluate(['network.nix', 'ci.nix'], {
      ...{ mode: 'write', deployment, physical: machines, checkout: nix.folder },
      searchPath: [`nixpkgs=${nixpkgs}`],
    })
    for (const name of ['ci', 'pi']) {
      const path = hydra.drvPath(nix.folder, name, { file: `${name}.nix` })
      expect(path, name).toMatch(/\.drv$/)
      expect(machineOf(found, name).drvPath, name).toBe(path)
    }
  })

  it('is built for ARM by a program for ARM, down to the smallest file of `pi`', () => {
    const path = hydra.drvPath(nix.folder, 'pi', { file: 'pi.nix' })
    const derivations = derivationsOf(path)
    expect(derivations.some((each) => each.endsWith('-built-on.drv'))).toBe(true)
    for (const each of derivations) {
      const text = readFileSync(hydra.fileOf(each), 'utf8')
      expect(text, each).toContain('"aarch64-linux"')
      expect(text, each).toMatch(/"\/nix\/store\/[^"/]*-arm64\/busybox"/)
    }
  })

  it('cannot be built on a host without that processor, and the error is the one of the document', async () => {
    const flags = ['deploy', '-d', 'home', '--include', 'pi', '--build-only']
    const refused = await operator.run(flags, { env: { NIX_PATH: `nixpkgs=${nixpkgs}` } })
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain("a 'aarch64-linux' with features {} is required to build ")
    expect(document).toContain("a 'aarch64-linux' with features {} is required to build …")
  })

  it('lets `pi` trust the cache once the key of the cache is in the repository', async () => {
    const before = hydra.drvPath(nix.folder, 'pi', { file: 'pi.nix' })
    expect(nixConf(before)).not.toContain('static-cache')
    nix.write('cache.json', JSON.stringify([{ machine: 'ci', publicKey: 'home-ci-1:AAAA' }]))
    commitAll(nix.folder)
    const conf = nixConf(hydra.drvPath(nix.folder, 'pi', { file: 'pi.nix' }))
    expect(conf).toContain('substituters = http://ci.example.org/static-cache')
    expect(conf).toContain('trusted-public-keys = home-ci-1:AAAA')
  })
})

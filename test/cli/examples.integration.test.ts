import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { z } from 'zod'
import { type RealCli, realCli } from './real-cli.js'

const examples = join(import.meta.dirname, '..', '..', 'examples')
/**
 * Examples except the provider. test/package evaluates the provider's network after it installs the
 * provider.
 */
const networks = readdirSync(examples).filter((name) => name !== 'provider')

/** Arguments that an example requires. */
const needed: Readonly<Record<string, readonly string[]>> = {
  ssh: ['--argstr', 'host', 'server.example.org'],
}

let cli: RealCli

beforeAll(() => {
  cli = realCli()
})
afterAll(() => cli.cleanup())

const Info = z.object({
  evaluated: z.boolean(),
  machines: z.array(z.object({ name: z.string() })),
})

async function machinesOf(example: string, args: readonly string[]): Promise<string[]> {
  const network = join(examples, example, 'network.nix')
  await ok('create', network, '-d', example, '--or-modify', ...args)
  const info = Info.parse(JSON.parse(await ok('info', '-d', example, '--no-probe', '--json')))
  expect(info.evaluated).toBe(true)
  return info.machines.map(({ name }) => name)
}

async function ok(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli.run(argv)
  if (code !== 0) throw new Error(`hydra-ops ${argv.join(' ')} exited with ${code}: ${stderr}`)
  return stdout
}

it.each(networks)('the example %s is valid', async (example) => {
  expect(await machinesOf(example, needed[example] ?? [])).not.toEqual([])
})

it('the lab is valid both without and with the key of its cache', async () => {
  expect(await machinesOf('lab', [])).toEqual(['ci', 'client'])
  expect(await machinesOf('lab', ['--argstr', 'cacheKey', 'lab-ci-1:AAAA'])).toEqual(['ci', 'client'])
})

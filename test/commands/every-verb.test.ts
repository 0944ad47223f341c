import { describe, expect, it } from 'vitest'
import { verbs } from '../../src/commands/verbs.js'
import { runCli } from './run-cli.js'

/** Verbs without --json, because they print only remarks or another program's output. */
const withoutJson = ['delete', 'unlock', 'console', 'ssh', 'scp']
/** Verbs with subcommands, each with its own flags. */
const compound = ['image', 'config']

describe.each(verbs.map((verb) => [verb.name, verb] as const))('%s', (name) => {
  it('explains itself with an example', async () => {
    const { code, stdout, stderr } = await runCli([name, '--help'])
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`Usage: hydra-ops ${name}`)
    expect(stdout).toMatch(/\nExamples?:\n {2}\S/)
    expect(stdout).toContain(`hydra-ops ${name}`)
  })

  it('has the common flags', async () => {
    const { stdout } = await runCli(compound.includes(name) ? [name, 'list', '--help'] : [name, '--help'])
    for (const flag of ['--state', '--debug', '--no-color']) expect(stdout).toContain(flag)
    expect(stdout.includes('--json')).toBe(!withoutJson.includes(name))
  })
})

it('verbs that work on a deployment take -d before and after the verb', async () => {
  const global = ['init', 'list', 'image', 'doctor', 'config']
  for (const { name } of verbs) {
    const { stdout } = await runCli([name, '--help'])
    expect([name, /-d, --deployment/.test(stdout)]).toEqual([name, !global.includes(name)])
  }
})

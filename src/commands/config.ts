import type { Command } from 'commander'
import { commonFlags, example } from './flags.js'
import type { Cli, CommonFlags } from './verb.js'

const keys = 'deployment, plugins (npm packages, separated by commas), max-concurrent'

export function registerConfig(command: Command, cli: Cli): void {
  command.addHelpText('after', `\nPreferences: ${keys}`)
  example(command, 'hydra-ops config set deployment lab', 'hydra-ops config list')
  const list = command.command('list').description('list every preference with its value')
  commonFlags(list, { deployment: false, json: true })
  example(list, 'hydra-ops config list')
  list.action((flags: CommonFlags) =>
    withoutPlugins(cli, flags, async (ops, ui) => {
      const all = await (await import('../operations/preferences.js')).listPreferences(ops)
      if (ui.json) ui.printJson(Object.fromEntries(all.map(({ key, value }) => [key, value ?? null])))
      else for (const { key, value } of all) ui.print(`${key} = ${value ?? '(not set)'}`)
      return 0
    }),
  )
  const get = command.command('get <key>').description(`show one value: ${keys}`)
  commonFlags(get, { deployment: false, json: true })
  example(get, 'hydra-ops config get deployment')
  get.action((key: string, flags: CommonFlags) =>
    withoutPlugins(cli, flags, async (ops, ui) => {
      const value = await (await import('../operations/preferences.js')).getPreference(ops, key)
      if (ui.json) ui.printJson(value ?? null)
      else if (value !== undefined) ui.print(value)
      return 0
    }),
  )
  const set = command.command('set <key> <value>').description('change a value')
  commonFlags(set, { deployment: false })
  example(set, 'hydra-ops config set max-concurrent 4')
  set.action((key: string, value: string, flags: CommonFlags) => change(cli, key, value, flags))
  const unset = command.command('unset <key>').description('reset a value to its default')
  commonFlags(unset, { deployment: false })
  example(unset, 'hydra-ops config unset deployment')
  unset.action((key: string, flags: CommonFlags) => change(cli, key, undefined, flags))
}

/** Runs without plugins, because otherwise a broken plugin could not be removed from the preferences. */
function withoutPlugins(cli: Cli, flags: CommonFlags, action: Parameters<Cli['run']>[1]): Promise<void> {
  return cli.run(flags, action, { plugins: false })
}

function change(cli: Cli, key: string, value: string | undefined, flags: CommonFlags): Promise<void> {
  return withoutPlugins(cli, flags, async (ops) => {
    const { setPreference } = await import('../operations/preferences.js')
    await setPreference(ops, key, value)
    return 0
  })
}

import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { builtInProviders } from './built-in-providers.js'
import { type SourceFile, sourceFiles } from './source-files.js'

/** Files of the engine that may name a provider's option, with the reason. */
const mayName: ReadonlyMap<string, string> = new Map([
  ['src/core/common-options.ts', 'the document of deployment.targetEnv lists the values'],
  ['src/core/programs.ts', "libvirt's daemon is a program of that name"],
  ['src/doctor/programs.ts', 'doctor says which provider needs those programs'],
  ['src/commands/create.ts', 'the example of --help has a file of that name'],
  ['src/commands/set-args.ts', 'the example of --help sets an argument of that name'],
  ['src/commands/init.ts', 'the flag --provider of init hydra takes a value of deployment.targetEnv'],
  ['src/operations/init/hydra-answers.ts', 'the answers of init hydra choose a provider'],
  ['src/operations/init/hydra-template.ts', 'init hydra writes a network expression for a provider'],
])

interface ProviderNames {
  readonly name: string
  readonly optionKey: string | undefined
  readonly configSchema: unknown
}

/**
 * Lists the names that only a provider may use: its key and its options of several words, such as
 * `forwardPorts`.
 */
function ownNames({ name, optionKey, configSchema }: ProviderNames): string[] {
  if (optionKey === undefined) return []
  const options = configSchema instanceof z.ZodObject ? Object.keys(configSchema.shape) : []
  return [...new Set([name, optionKey]), ...options.filter((option) => /[a-z][A-Z]/.test(option))]
}

/**
 * Lists the files whose code names an option of a provider: `path: name`. A comment may name such an
 * option.
 */
function namingFiles(files: readonly SourceFile[], names: readonly string[]): string[] {
  return files.flatMap(({ path, text }) => {
    const code = text.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
    return names.filter((name) => new RegExp(`\\b${name}\\b`).test(code)).map((name) => `${path}: ${name}`)
  })
}

const providers = await builtInProviders()
const engine = sourceFiles(['src'], ['.ts'])

it('the engine names no option of a provider, so that a new provider touches only its own folder', () => {
  const names = providers.flatMap(ownNames)
  expect(names).toEqual(expect.arrayContaining(['libvirtd', 'forwardPorts', 'baseImageSha256']))
  const others = engine.filter(({ path }) => !mayName.has(path))
  expect(namingFiles(others, names)).toEqual([])
})

it('each file that may name a provider still names one', () => {
  const names = providers.flatMap(ownNames)
  const naming = new Set(namingFiles(engine, names).map((each) => each.split(':')[0]))
  expect([...mayName.keys()].filter((path) => !naming.has(path))).toEqual([])
})

it('the option that chooses a port is one of the options of its provider', () => {
  const chosen = providers.filter(({ portOption }) => portOption !== undefined)
  expect(chosen.map(({ name }) => name)).toContain('libvirt')
  for (const provider of chosen) {
    const [first, key, option = ''] = provider.portOption?.split('.') ?? []
    expect([first, key]).toEqual(['deployment', provider.optionKey])
    expect(ownNames(provider)).toContain(option)
  }
})

describe('the rule of names', () => {
  const box = {
    name: 'box',
    optionKey: 'boxd',
    configSchema: z.strictObject({ diskBus: z.string(), size: z.number() }),
  }
  const found = (text: string) => namingFiles([{ path: 'src/a.ts', text }], ownNames(box))

  it.each([
    ["hint: 'give another bus in deployment.boxd.diskBus'", ['src/a.ts: boxd', 'src/a.ts: diskBus']],
    ["if (provider.name === 'box') return", ['src/a.ts: box']],
    ['const port = config.diskBus', ['src/a.ts: diskBus']],
  ])('finds the name in %s', (text, expected) => {
    expect(found(text)).toEqual(expected)
  })

  it.each(['const size = sandbox.size', '/** A disk bus, such as that of boxd. */', '  // boxd waits here'])(
    'finds nothing in %s',
    (text) => {
      expect(found(text)).toEqual([])
    },
  )
})

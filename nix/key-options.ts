import { basename, dirname, join, normalize } from 'node:path'
import * as z from 'zod'
import type { CommonOptions } from '../src/core/common-options.js'
import type { Json } from '../src/core/json.js'
import type { KeyDefinition } from '../src/core/key-definition.js'
import { shownAs } from '../src/core/option-docs.js'
import { check, type Issue } from './definition-errors.js'

/** Options of a key with public values; the values of all other options are never shown. */
const publicOptions = ['destDir', 'group', 'name', 'permissions', 'uploadAt', 'user']

/**
 * Recognises secret options: `deployment.keys.db.text`, NixOps' old form `deployment.keys.db`, and a Hydra
 * password where a source of the password is expected.
 */
export function isSecret(path: readonly (string | number)[]): boolean {
  const [deployment, keys, , option] = path
  if (keys === 'hydra') return path.at(-1) === 'password'
  return deployment === 'deployment' && keys === 'keys' && !publicOptions.includes(String(option))
}

/** Morph's `deployment.secrets.<name>`. */
export const MorphSecret = z.strictObject({
  source: shownAs('path', z.string().startsWith('/')),
  destination: z.string().startsWith('/'),
  owner: z
    .strictObject({ user: z.string().min(1).default('root'), group: z.string().min(1).default('root') })
    .default({ user: 'root', group: 'root' }),
  permissions: z.string().default('0400'),
  action: z.array(z.string()).max(0, 'no action, because actions are not supported yet').default([]),
  mkDirs: z.literal(true, 'true, because folders are always created').default(true),
  uploadAt: z.enum(['pre-activation', 'post-activation']).default('pre-activation'),
})

type Options = Readonly<Record<string, Json>>

/**
 * Rewrites the options with `keys` in hydra-ops's form: NixOps' old `keys.x = "text"`, and Morph's `secrets` as
 * keys.
 */
export function withModernKeys(options: Options): { options: Options; issues: readonly Issue[] } {
  const { secrets, ...others } = options
  const keys = isRecord(others.keys)
    ? Object.entries(others.keys).map(([name, key]) => [name, typeof key === 'string' ? { text: key } : key])
    : undefined
  if (secrets === undefined) {
    return {
      options: keys === undefined ? others : { ...others, keys: Object.fromEntries(keys) },
      issues: [],
    }
  }
  const parsed = check(z.record(z.string(), MorphSecret), secrets, ['deployment', 'secrets'])
  if ('issues' in parsed) return { options: others, issues: parsed.issues }
  const converted = Object.entries(parsed.value).map(([name, secret]) => [name, keyOfSecret(secret)])
  return { options: { ...others, keys: Object.fromEntries([...(keys ?? []), ...converted]) }, issues: [] }
}

function keyOfSecret(secret: z.infer<typeof MorphSecret>): Json {
  return {
    keyFile: secret.source,
    name: basename(secret.destination),
    destDir: dirname(secret.destination),
    user: secret.owner.user,
    group: secret.owner.group,
    permissions: secret.permissions,
    uploadAt: secret.uploadAt,
  }
}

/** Checks the rules that span several options: one source for each key, usable names, no two keys in one place. */
export function keyIssues(keys: CommonOptions['keys']): Issue[] {
  const places = new Map<string, string>()
  return Object.entries(keys).flatMap(([name, key]) => {
    const path = ['deployment', 'keys', name]
    const says = [sourceProblem(key), nameProblem(key.name ?? name)]
    const place = normalize(join(key.destDir, key.name ?? name))
    const other = places.get(place)
    places.set(place, name)
    if (other !== undefined)
      says.push(`the key goes to ${place}, as key '${other}' does; change the name or destDir of one key`)
    return says.flatMap((say) => (say === undefined ? [] : [{ path, say }]))
  })
}

function sourceProblem(key: KeyDefinition): string | undefined {
  const given = (['text', 'keyFile', 'keyCommand'] as const).filter(
    (source) => (key[source] ?? null) !== null,
  )
  if (given.length !== 1) {
    const which = given.length === 0 ? 'none of them' : given.join(' and ')
    return `expected exactly one of text, keyFile and keyCommand, got ${which}`
  }
  if (typeof key.keyFile === 'string' && !key.keyFile.startsWith('/')) {
    return 'keyFile: expected a path (without quotes) or a string that begins with "/"'
  }
  return undefined
}

function nameProblem(name: string): string | undefined {
  if (name.includes('/') || name.includes('\0') || name === '.' || name === '..') {
    return `${JSON.stringify(name)} is not a file name; use destDir for the folder`
  }
  return undefined
}

function isRecord(value: Json | undefined): value is { [key: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

import { existsSync } from 'node:fs'
import { isAbsolute } from 'node:path'

const methods = [
  'imageReference',
  'imageId',
  'allocate',
  'ports',
  'physical',
  'publishedUrls',
  'inspect',
  'plan',
  'reconcile',
  'start',
  'stop',
  'destroy',
  'target',
  'resourceId',
] as const

/** Methods that a provider may leave out. */
const optionalMethods = ['ownedPlaces', 'publishedPort', 'listOwned', 'doctor'] as const

/** Groups of methods that a provider may leave out as a whole, by the name of the group. */
const powers: Readonly<Record<string, readonly string[]>> = {
  console: ['command', 'logFile'],
  snapshots: ['list', 'create', 'losses', 'restore', 'delete'],
}

/** Names the part that a value lacks as a provider; returns undefined for a complete provider. */
export function partLackingIn(candidate: unknown, commonOptions: readonly string[]): string | undefined {
  if (typeof candidate !== 'object' || candidate === null) return 'is not a provider'
  return lackOfFacts(candidate) ?? lackOfOptions(candidate, commonOptions) ?? lackOfMethods(candidate)
}

function lackOfFacts(candidate: object): string | undefined {
  const has = (key: string): unknown => Reflect.get(candidate, key)
  if (typeof has('name') !== 'string' || has('name') === '') return "has no 'name'"
  const words = has('targetEnvs')
  if (!Array.isArray(words) || words.length === 0 || words.some((word) => typeof word !== 'string'))
    return "has no 'targetEnvs' (a list of names)"
  if (typeof has('makesMachines') !== 'boolean') return "has no boolean 'makesMachines'"
  const schema = ['configSchema', 'allocationSchema', 'handleSchema'].find((key) => !isSchema(has(key)))
  return schema === undefined ? undefined : `has no '${schema}' (a zod schema)`
}

/** Describes the fault in the declaration of a provider's options. */
function lackOfOptions(candidate: object, commonOptions: readonly string[]): string | undefined {
  const has = (key: string): unknown => Reflect.get(candidate, key)
  const [key, module] = [has('optionKey'), has('optionsNix')]
  if (typeof module !== 'string') return "has no 'optionsNix' (the path of a NixOS module)"
  if (!isAbsolute(module) || !existsSync(module))
    return `has an 'optionsNix' that is not an absolute path of a file: ${module}`
  if (key === undefined)
    return accepts(has('configSchema'), {})
      ? undefined
      : "has no 'optionKey', but its 'configSchema' refuses a machine without options"
  if (typeof key !== 'string' || !/^[A-Za-z_][\w-]*$/.test(key))
    return "has an 'optionKey' that is not a name of an option"
  return commonOptions.includes(key)
    ? `has the 'optionKey' ${key}, but deployment.${key} is an option of every machine`
    : undefined
}

function lackOfMethods(candidate: object): string | undefined {
  const lacks = (object: object, name: string) => typeof Reflect.get(object, name) !== 'function'
  const method = methods.find((name) => lacks(candidate, name))
  if (method !== undefined) return `has no method '${method}'`
  const optional = optionalMethods.find((name) => name in candidate && lacks(candidate, name))
  if (optional !== undefined) return `has a '${optional}' that is not a method`
  for (const [power, names] of Object.entries(powers)) {
    const value: unknown = Reflect.get(candidate, power)
    if (value === undefined) continue
    if (typeof value !== 'object' || value === null) return `has a '${power}' that is not a set of methods`
    const missing = names.find((name) => lacks(value, name))
    if (missing !== undefined) return `has no method '${power}.${missing}'`
  }
  return undefined
}

/** Recognises schemas from the plugin's own copy of zod. */
function isSchema(value: unknown): value is { safeParse(input: unknown): { success: boolean } } {
  return typeof value === 'object' && value !== null && typeof Reflect.get(value, 'safeParse') === 'function'
}

function accepts(schema: unknown, value: unknown): boolean {
  return isSchema(schema) && schema.safeParse(value).success
}

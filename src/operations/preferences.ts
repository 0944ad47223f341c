import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import type { Preferences } from '../core/store.js'
import { suggest } from '../core/suggest.js'

interface Preference {
  readonly key: string
  show(preferences: Preferences): string | undefined
  /** Changes the preference, or removes it for `undefined`; throws a usage error for an invalid value. */
  change(ops: Ops, preferences: Preferences, text: string | undefined): Promise<Preferences>
}

const known: readonly Preference[] = [
  {
    key: 'deployment',
    show: (preferences) => preferences.deployment,
    change: async (ops, preferences, text) => {
      // An unknown deployment is refused now, not at every later command.
      if (text !== undefined) await ops.store.resolve(text)
      return { ...preferences, deployment: text }
    },
  },
  {
    key: 'plugins',
    show: (preferences) => preferences.plugins?.join(','),
    change: async (_, preferences, text) => ({
      ...preferences,
      plugins: text === undefined ? undefined : words(text),
    }),
  },
  {
    key: 'max-concurrent',
    show: (preferences) => preferences.maxConcurrent?.toString(),
    change: async (_, preferences, text) => ({
      ...preferences,
      maxConcurrent: text === undefined ? undefined : wholeNumber(text),
    }),
  },
]

/** Lists every preference with its value, as text. */
export async function listPreferences(ops: Ops): Promise<{ key: string; value: string | undefined }[]> {
  const preferences = await ops.store.preferences()
  return known.map(({ key, show }) => ({ key, value: show(preferences) }))
}

export async function getPreference(ops: Ops, key: string): Promise<string | undefined> {
  return find(key).show(await ops.store.preferences())
}

/** Sets a preference; `undefined` restores the default. */
export async function setPreference(ops: Ops, key: string, value: string | undefined): Promise<void> {
  const changed = await find(key).change(ops, await ops.store.preferences(), value)
  await ops.store.setPreferences(changed)
}

function find(key: string): Preference {
  const found = known.find((each) => each.key === key)
  if (found !== undefined) return found
  const keys = known.map((each) => each.key)
  const close = suggest(key, keys)
  throw usageError(`there is no preference '${key}'`, {
    hint: close === undefined ? `the preferences are: ${keys.join(', ')}` : `did you mean '${close}'?`,
  })
}

function words(text: string): string[] {
  const list = text.split(',').map((each) => each.trim())
  if (list.includes(''))
    throw usageError(`plugins '${text}': one of the names is empty`, {
      hint: 'give names of npm packages, separated by commas',
    })
  return list
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d*$/.test(text))
    throw usageError(`max-concurrent: expected a whole number above 0, got '${text}'`)
  return Number(text)
}

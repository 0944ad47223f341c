import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { replaceFile } from '../src/core/durable-file.js'
import { failure, messageOf, type OpsError } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import { shellQuote } from '../src/core/shell-quote.js'
import type { Preferences } from '../src/core/store.js'
import { PreferencesFile } from './schema.js'

function preferencesPath(root: string): string {
  return join(root, 'config.json')
}

/**
 * Loads the user's config.json, which conf finds, reads and parses. The conf package is loaded only if the file exists,
 * because loading conf takes as long as a read-only command. State files have a different reader, because conf treats a
 * missing file as empty and creates its folder. A lost state would then look like a new state. An invalid file only
 * affects commands that use a preference.
 */
export async function loadPreferences(root: string): Promise<Preferences | OpsError> {
  const file = preferencesPath(root)
  if (!existsSync(file)) return {}
  const { default: Conf } = await import('conf')
  try {
    const read = new Conf({
      cwd: root,
      configName: 'config',
      configFileMode: 0o600,
      accessPropertiesByDotNotation: false,
    }).store
    const parsed = PreferencesFile.safeParse(read)
    if (parsed.success) return parsed.data
    const issue = parsed.error.issues[0]
    return broken(file, `${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'not valid'}`)
  } catch (error) {
    return errnoOf(error) === undefined ? broken(file, messageOf(error)) : fsFailure(error, 'read', file)
  }
}

export async function writePreferences(root: string, preferences: Preferences): Promise<void> {
  await replaceFile(
    preferencesPath(root),
    `${JSON.stringify(PreferencesFile.parse(preferences), undefined, 2)}\n`,
  )
}

function broken(file: string, why: string): OpsError {
  return failure('CONFIG_DAMAGED', `cannot use the preferences in ${file}: ${why}`, {
    hint: `correct the file, or remove the file: rm ${shellQuote(file)}`,
  })
}

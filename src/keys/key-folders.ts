import { posix } from 'node:path'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { runScript } from '../remote/run-script.js'
import { keyCustoms } from './key-customs.js'
import type { ResolvedKey } from './keys.js'

const openMs = 120_000

/**
 * Mode and group of a new folder for keys, as in NixOps. Root owns the folder, and members of group `keys` may list it.
 */
export const keyDirectory = { mode: 0o750, group: 'keys' }

/** Owner's user id, group and mode of a folder that hydra-ops created, as target/keys/ compares them. */
export const keyFolderMadeAs = `0 ${keyDirectory.group} ${keyDirectory.mode.toString(8)}`

/**
 * Lets the owners of keys into the folders that hydra-ops created, with ACL entries that only allow entering. The
 * owners still cannot list the folder, and no other user gains access. Entries of former owners are removed. `emptied`
 * lists folders that lost keys. An owner who stays shut out is an error, unless a later activation may let the owner
 * in.
 */
export async function openFolders(
  host: Host,
  keys: readonly ResolvedKey[],
  run: Run,
  options: { readonly emptied?: readonly string[]; readonly beforeActivation?: boolean } = {},
): Promise<void> {
  const { emptied = [], beforeActivation = false } = options
  const what = 'give users access to the folders of their keys'
  const folders = [...new Set([...emptied, ...keys.map((key) => posix.dirname(key.path))])]
  if (folders.length === 0) return
  const values = {
    folders: folders.map((folder) => [folder, tmpfilesWord(folder)]),
    keys: keys.map((key, index) => [posix.dirname(key.path), String(index), ...ownerFields(key)]),
    made_as: keyFolderMadeAs,
    list_group: keyDirectory.group,
  }
  const opening = { what, script: 'keys/open-folders', values, timeoutMs: openMs }
  const { stdout, stderr } = await runScript(host, opening, run, () => {})
  const shut = stdout.split('\n').flatMap((index) => (index === '' ? [] : (keys[Number(index)] ?? [])))
  const refused = shut.filter(({ os }) => !beforeActivation || keyCustoms(os).judgesFoldersEarly)
  const [first] = refused
  if (first === undefined) return
  throw failure('KEY_FOLDER', `machine '${host.machine}': ${refused.map(shutTo).join('; ')}`, {
    machine: host.machine,
    detail: stderr.trim(),
    hint: keyCustoms(first.os).folderHint([...new Set(refused.map(({ user }) => user))]),
  })
}

function shutTo({ name, path, user, group }: ResolvedKey): string {
  const folder = JSON.stringify(posix.dirname(path))
  return `key ${JSON.stringify(name)}: user '${user}' and group '${group}' cannot be given access to the folder ${folder}`
}

/** Returns the fields of a key's record about its readers: user, group, and whether the group may read. */
export function ownerFields({ user, group, mode }: ResolvedKey): string[] {
  return [user, group, (mode & 0o040) === 0 ? 'no' : 'yes']
}

/**
 * Quotes a folder for a line of tmpfiles.d(5). Returns '' if tmpfiles would find a pattern or an escape in the path.
 */
function tmpfilesWord(folder: string): string {
  return /["*?[\]{}\\\p{Cc}]/u.test(folder) ? '' : `"${folder.replaceAll('%', '%%')}"`
}

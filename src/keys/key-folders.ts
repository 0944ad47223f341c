import { posix } from 'node:path'
import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import type { ResolvedKey } from './keys.js'

const openMs = 120_000

/** How the folder of keys is made, as NixOps makes it: root's, listed by the members of group `keys`. */
export const keyDirectory = { mode: 0o750, group: 'keys' }

/**
 * Lets the owners of keys into the folders that we made, by ACL entries that allow entering alone: they
 * still cannot list the folder, and nobody else can do more than before. Entries of former owners go.
 * `emptied` are folders out of which keys were removed.
 */
export async function openFolders(
  host: Host,
  keys: readonly ResolvedKey[],
  run: Run,
  emptied: readonly string[] = [],
): Promise<void> {
  const what = 'open the folders of keys to their users'
  const folders = new Map<string, ResolvedKey[]>(emptied.map((folder) => [folder, []]))
  for (const key of keys) {
    const folder = posix.dirname(key.path)
    folders.set(folder, [...(folders.get(folder) ?? []), key])
  }
  if (folders.size === 0) return
  const args = [...folders].flatMap(([folder, inside]) => [
    ...[folder, tmpfilesWord(folder), '-', 'root', 'root', 'no'],
    ...inside.flatMap((key) => [folder, '', String(keys.indexOf(key)), ...ownerArguments(key)]),
  ])
  const options = { signal: run.signal, timeoutMs: openMs, what }
  const { stdout, stderr } = requireSuccess(await host.script(openScript, args, options), {
    machine: host.machine,
    what,
  })
  const shut = stdout.split('\n').flatMap((index) => (index === '' ? [] : (keys[Number(index)] ?? [])))
  if (shut.length === 0) return
  throw failure('KEY_FOLDER', `machine '${host.machine}': ${shut.map(shutTo).join('; ')}`, {
    machine: host.machine,
    detail: stderr.trim(),
    hint: 'where its file system has ACLs: deployment.aptPackages = [ "acl" ]; else make the folder yourself beforehand, with owner and mode of your choice',
  })
}

function shutTo({ name, path, user, group }: ResolvedKey): string {
  const folder = JSON.stringify(posix.dirname(path))
  return `key ${JSON.stringify(name)}: its folder ${folder} cannot be opened to user '${user}' and group '${group}'`
}

/** What `shut` below needs to know of a key: its user, its group, and whether its group may read it. */
export function ownerArguments({ user, group, mode }: ResolvedKey): string[] {
  return [user, group, (mode & 0o040) === 0 ? 'no' : 'yes']
}

/** The folder as a line of tmpfiles.d(5) has it; empty where a pattern or an escape would be read in it. */
function tmpfilesWord(folder: string): string {
  return /["*?[\]{}\\\p{Cc}]/u.test(folder) ? '' : `"${folder.replaceAll('%', '%%')}"`
}

/**
 * sh functions. `ours FOLDER`: was it made by us (or by NixOps)? `shut FOLDER USER GROUP GROUP-READS`: is it
 * what keeps USER or GROUP out, who may enter the folder above? Tried as they would, since ACLs count too; the
 * script ends where that cannot be tried.
 */
export const folderFunctions = `
user_id() { case $1 in *[!0-9]*) id -u -- "$1" 2>/dev/null ;; *) printf %s "$1" ;; esac; }
group_id() { case $1 in *[!0-9]*) getent group -- "$1" | cut -d: -f3 ;; *) printf %s "$1" ;; esac; }
ours() { [ "$(stat -c '%u %G %a' -- "$1" 2>/dev/null)" = '0 ${keyDirectory.group} ${keyDirectory.mode.toString(8)}' ]; }

kept_out() {
  inside=$1 above=\${1%/*}
  shift
  setpriv "$@" sh -c 'if [ -x "$1" ] && [ ! -x "$2" ]; then exit 9; fi' sh "\${above:-/}" "$inside"
  tried=$?
  case $tried in 0) return 1 ;; 9) return 0 ;; *) exit $tried ;; esac
}

shut_to_user() {
  uid=$(user_id "$2")
  if [ -z "$uid" ] || [ "$uid" = 0 ]; then return 1; fi
  if own=$(id -g -- "$2" 2>/dev/null); then kept_out "$1" --reuid "$uid" --regid "$own" --init-groups
  else kept_out "$1" --reuid "$uid" --regid 65534 --clear-groups
  fi
}

shut_to_group() {
  gid=$(group_id "$2")
  if [ -z "$gid" ] || [ "$gid" = 0 ]; then return 1; fi
  kept_out "$1" --reuid 65534 --regid "$gid" --clear-groups
}

shut() { shut_to_user "$1" "$2" || { [ "$4" = yes ] && shut_to_group "$1" "$3"; }; }
`

/**
 * Arguments, six each: folder, word, '-' and nobody's rights for every folder, then its keys: folder, '', number and
 * `ownerArguments`. Prints the numbers of those that stay shut. The program of package acl can do it in every
 * folder, and is rarely there; systemd's always is, but refuses what lies in somebody else's folder.
 */
const openScript = `
${folderFunctions}
base=u::rwx,g::r-x,o::---

set_acl() (
  if ! cd -P -- "$folder" || ! ours .; then return 0; fi
  [ "$acl" = $base ] || acl=$acl,m::r-x
  if command -v setfacl >/dev/null 2>&1 && setfacl --set "$acl" .; then return 0; fi
  [ -z "$word" ] || printf 'a %s - - - - %s\\n' "$word" "$acl" | systemd-tmpfiles --create -
)

add() { case ",$acl," in *",$1,"*) ;; *) acl=$acl,$1 ;; esac; }

# A member may list the folder: an entry of one's own would take that away.
is_member() { id -nG -- "$1" 2>/dev/null | tr ' ' '\\n' | grep -qxF ${keyDirectory.group}; }

set_all() {
  folder=
  while [ $# -gt 0 ]; do
    if [ "$3" = - ]; then
      [ -z "$folder" ] || set_acl
      folder=$1 word=$2 acl=$base
    fi
    uid=$(user_id "$4") gid=$(group_id "$5")
    if [ -n "$uid" ] && [ "$uid" != 0 ] && ! is_member "$4"; then add "u:$uid:--x"; fi
    if [ "$6" = yes ] && [ -n "$gid" ] && [ "$gid" != 0 ] && [ "$5" != ${keyDirectory.group} ]; then add "g:$gid:--x"; fi
    shift 6
  done
  set_acl
}

still_shut() {
  while [ $# -gt 0 ]; do
    if [ "$3" != - ] && ours "$1" && shut "$1" "$4" "$5" "$6"; then echo "$3"; fi
    shift 6
  done
}

set_all "$@" >&2
still_shut "$@"
exit 0
`

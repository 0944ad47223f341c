import { createHash, randomBytes } from 'node:crypto'
import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { hexEscape, keyUnitName } from '../core/key-unit-name.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles, stagedPath } from '../remote/place-files.js'
import { folderFunctions, keyDirectory, openFolders, ownerArguments } from './key-folders.js'
import { missingOwner } from './key-owners.js'
import { keyUnitFile, keyUnitMark, survivesReboot, unitFolder } from './key-units.js'
import { type DroppedKeys, isFine, type ResolvedKey, type SeenKey } from './keys.js'

const inspectMs = 120_000
/** A mount that waits for its device gives up after 90 s (systemd's default). */
const mountMs = 120_000
const unitsMs = 180_000

export interface Delivered {
  /** Names of the keys (or of their units) that were changed. */
  readonly changed: readonly string[]
  /** Keys whose user or group does not exist yet; theirs only after activation. */
  readonly ownerless: readonly string[]
  /** Keys that were left out after the activation, as their user or group does not exist. */
  readonly unowned: readonly SeenKey[]
}

/**
 * How each key is found, in one round trip: the machine answers with a hash of a nonce of ours and the content,
 * so that what crosses the wire tells nobody who listens later whether a key is still the same.
 */
export async function inspectKeys(host: Host, keys: readonly ResolvedKey[], run: Run): Promise<SeenKey[]> {
  if (keys.length === 0) return []
  const what = 'compare keys'
  const nonce = randomBytes(32).toString('hex')
  const args = keys.flatMap((key) => [key.path, keyUnitFile(key)?.path ?? '', ...ownerArguments(key)])
  const result = await host.script(inspectScript, args, {
    signal: run.signal,
    timeoutMs: inspectMs,
    what,
    stdin: `${nonce}\n`,
  })
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  const answers = stdout.trimEnd().split('\n')
  if (answers.length !== keys.length) {
    throw failure(
      'KEYS',
      `machine '${host.machine}': ${what}: ${answers.length} answers for ${keys.length} keys`,
    )
  }
  return keys.map((key, index) => seenKey(key, nonce, answers[index] ?? ''))
}

/** One answer: `HASH MODE UID:GID WANTED-UID:WANTED-GID SHUT UNIT-HASH`; HASH is `-` for a missing file. */
function seenKey(key: ResolvedKey, nonce: string, answer: string): SeenKey {
  const [hash = '-', mode = '', owner = '', wantedOwner = '', shut = '', unitHash = ''] = answer.split(' ')
  const unit = keyUnitFile(key)
  const unitDiffers = unit !== undefined && unitHash !== 'none' && unitHash !== sha256(unit.content)
  const state = (): SeenKey['state'] => {
    if (hash === '-') return 'missing'
    if (key.content === undefined) return 'unknown'
    if (hash !== sha256(nonce, key.content)) return 'differs'
    return Number.parseInt(mode, 8) === key.mode && owner === wantedOwner ? 'same' : 'metadata differs'
  }
  const [wantedUser = '', wantedGroup = ''] = wantedOwner.split(':')
  const has = { user: wantedUser !== '', group: wantedGroup !== '' }
  return { key, state: state(), unitDiffers, shut: shut === 'shut', missingOwner: missingOwner(key, has) }
}

function sha256(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}

/**
 * Brings keys into place; one that is as it should be is not touched. Before activation only the keys of that
 * phase, where a user or group may still be missing; after it all, so that those get their owner. A key without
 * one withholds no other: the caller refuses it when the others are in place.
 */
export async function deliverKeys(
  host: Host,
  keys: readonly ResolvedKey[],
  phase: ResolvedKey['uploadAt'],
  run: Run,
): Promise<Delivered> {
  const due = phase === 'post-activation' ? keys : keys.filter((key) => key.uploadAt === phase)
  const found = await inspectKeys(host, due, run)
  const unowned = phase === 'post-activation' ? found.filter((each) => each.missingOwner !== undefined) : []
  const seen = found.filter((each) => !unowned.includes(each))
  const stale = seen.filter((each) => each.state !== 'same')
  const changed = seen.filter((each) => !isFine(each))
  if (changed.length === 0) return { changed: [], ownerless: [], unowned }
  await mountDestinations(
    host,
    stale.map((each) => each.key.path),
    run,
  )
  run.log(`keys: ${changed.map((each) => JSON.stringify(each.key.name)).join(', ')}`)
  const files = stale.map((each) => keyFile(each.key, phase === 'pre-activation'))
  const ownerless = await placeFiles(host, files, { run, what: 'deliver keys' })
  // All keys count: those of the other phase lie there already, or will.
  if (stale.length > 0 || changed.some((each) => each.shut)) await openFolders(host, keys, run)
  await refreshUnits(host, changed, run)
  return {
    changed: changed.map((each) => each.key.name),
    ownerless: due.filter((key) => ownerless.includes(key.path)).map((key) => key.name),
    unowned,
  }
}

function keyFile(key: ResolvedKey, ownerMayBeMissing: boolean): PlacedFile {
  const { path, content, user, group, mode } = key
  if (content === undefined) throw new Error(`the content of key ${key.name} is not known`)
  return { path, content, user, group, mode, ownerMayBeMissing, directory: keyDirectory }
}

/** Waits for what is to be mounted at or above the destinations, as RequiresMountsFor= of a unit would. */
async function mountDestinations(host: Host, paths: readonly string[], run: Run): Promise<void> {
  const what = 'mount the destination of keys'
  const units = [...new Set(paths.flatMap(mountUnitsFor))]
  const options = { signal: run.signal, timeoutMs: mountMs, what }
  if (units.length > 0)
    requireSuccess(await host.script(mountScript, units, options), { machine: host.machine, what })
}

/** systemd-escape --path of every directory above the file; `/` itself and /run are always there. */
export function mountUnitsFor(path: string): string[] {
  const parts = path
    .split('/')
    .filter((part) => part !== '')
    .slice(0, -1)
  return parts
    .map((_, index) => parts.slice(0, index + 1))
    .filter((above) => above.join('/') !== 'run')
    .map((above) => `${above.map(escapePart).join('-')}.mount`)
    .filter((unit) => unit.length <= 255)
}

function escapePart(part: string, index: number): string {
  return [...Buffer.from(part)]
    .map((byte, at) => {
      const char = String.fromCharCode(byte)
      const plain = /[A-Za-z0-9:_.]/.test(char) && !(char === '.' && index === 0 && at === 0)
      return plain ? char : hexEscape(byte)
    })
    .join('')
}

/**
 * Writes the unit files that differ and starts the units; those of replaced keys are restarted, which restarts
 * what `Requires=` them, so that a service never goes on with the old secret.
 */
async function refreshUnits(host: Host, changed: readonly SeenKey[], run: Run): Promise<void> {
  const what = 'start the units of keys'
  const files = changed.filter((each) => each.unitDiffers).flatMap((each) => keyUnitFile(each.key) ?? [])
  await refuseForeignUnits(host, files, run)
  await placeFiles(host, files, { run, what: 'write the units of keys' })
  const args = changed.flatMap(({ key, state }) => {
    const unit = keyUnitName(key.name)
    if (unit === undefined) return []
    const verb =
      state === 'differs' || state === 'metadata differs' || state === 'unknown' ? 'restart' : 'start'
    return [unit, verb, survivesReboot(key.path) ? 'enable' : 'disable']
  })
  const options = { signal: run.signal, timeoutMs: unitsMs, what }
  requireSuccess(await host.script(startScript, [files.length > 0 ? 'reload' : 'keep', ...args], options), {
    machine: host.machine,
    what,
  })
}

async function refuseForeignUnits(host: Host, files: readonly PlacedFile[], run: Run): Promise<void> {
  if (files.length === 0) return
  const what = 'look at the units of keys'
  const args = [keyUnitMark, ...files.map((file) => file.path)]
  const options = { signal: run.signal, timeoutMs: unitsMs, what }
  const { stdout } = requireSuccess(await host.script(foreignScript, args, options), {
    machine: host.machine,
    what,
  })
  const foreign = stdout
    .split('\n')
    .flatMap((index) => (index === '' ? [] : (files[Number(index)]?.path ?? [])))
  if (foreign.length === 0) return
  throw failure('FOREIGN', `machine '${host.machine}': ${foreign.join(', ')} exists and is not ours`, {
    machine: host.machine,
    hint: 'rename that unit or the key, then deploy again',
  })
}

/** Removes keys that were dropped, and the units of names that no key has any more. */
export async function removeKeys(host: Host, dropped: DroppedKeys, run: Run): Promise<void> {
  if (dropped.paths.length === 0 && dropped.names.length === 0) return
  const what = 'remove dropped keys'
  const units = dropped.names.flatMap((name) => keyUnitName(name) ?? [])
  const args = [
    keyUnitMark,
    unitFolder,
    String(units.length),
    ...units,
    ...dropped.paths.flatMap((path) => [path, stagedPath(path)]),
  ]
  const options = { signal: run.signal, timeoutMs: unitsMs, what }
  requireSuccess(await host.script(removeScript, args, options), { machine: host.machine, what })
}

/** `none` for the unit where no systemd runs. A link is not a key of ours, whatever it points to. */
const inspectScript = `
IFS= read -r nonce || exit 1
${folderFunctions}
while [ $# -gt 0 ]; do
  hash=- meta='- -' open=open
  if [ -L "$1" ]; then
    hash=link
  elif [ -f "$1" ]; then
    hash=$({ printf %s "$nonce"; cat -- "$1"; } | sha256sum)
    meta=$(stat -c '%a %u:%g' -- "$1") || hash=- meta='- -'
  elif [ -e "$1" ]; then
    hash=other
  fi
  if [ "$hash" != - ] && ours "\${1%/*}" && shut "\${1%/*}" "$3" "$4" "$5"; then open=shut; fi
  unit=none
  if [ -d /run/systemd/system ]; then unit=$(sha256sum < "$2" 2>/dev/null) || unit=-; fi
  printf '%s %s %s:%s %s %s\\n' "\${hash%% *}" "$meta" "$(user_id "$3")" "$(group_id "$4")" $open "\${unit%% *}"
  shift 5
done
`

const mountScript = `
[ -d /run/systemd/system ] || exit 0
for unit in "$@"; do
  [ "$(systemctl show -p LoadState --value -- "$unit")" = loaded ] || continue
  systemctl start -- "$unit" || exit 1
done
`

const foreignScript = `
mark=$1 index=0
shift
for unit in "$@"; do
  if [ -e "$unit" ] && [ "$(head -n 1 -- "$unit")" != "$mark" ]; then echo $index; fi
  index=$((index + 1))
done
`

/** systemd finds a new unit by itself. It reads all of them again, which takes seconds, where it has an older text. */
const startScript = `
[ -d /run/systemd/system ] || exit 0
known() {
  shift
  while [ $# -gt 0 ]; do
    systemctl show -p LoadState -p NeedDaemonReload -- "$1" || echo unknown
    shift 3
  done
}
if [ "$1" = reload ] && known "$@" | grep -vx -e LoadState=loaded -e NeedDaemonReload=no -e '' > /dev/null; then
  systemctl daemon-reload || exit 1
fi
shift
while [ $# -gt 0 ]; do
  systemctl --quiet --no-reload "$3" -- "$1" || exit 1
  systemctl --no-block "$2" -- "$1" || exit 1
  shift 3
done
`

const removeScript = `
mark=$1 folder=$2 units=$3 reload=
shift 3
while [ $units -gt 0 ]; do
  if [ -d /run/systemd/system ] && [ "$(head -n 1 -- "$folder/$1" 2>/dev/null)" = "$mark" ]; then
    systemctl --quiet --no-reload --no-block disable --now -- "$1" || exit 1
    rm -f -- "$folder/$1" || exit 1
    reload=yes
  fi
  shift
  units=$((units - 1))
done
while [ $# -gt 0 ]; do
  rm -f -- "$1" "$2" || exit 1
  shift 2
done
[ -z "$reload" ] || systemctl daemon-reload
`

import { createHash, randomBytes } from 'node:crypto'
import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import { hexEscape, keyUnitName } from '../core/key-unit-name.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles, stagedPath } from '../remote/place-files.js'
import { runScript } from '../remote/run-script.js'
import { targetScript } from '../remote/target-scripts.js'
import { keyCustoms } from './key-customs.js'
import { keyDirectory, keyFolderMadeAs, openFolders, ownerFields } from './key-folders.js'
import { missingOwner } from './key-owners.js'
import { keyUnitFile, keyUnitMark, survivesReboot, unitFolder } from './key-units.js'
import { type DroppedKeys, isFine, type ResolvedKey, type SeenKey } from './keys.js'

const inspectMs = 120_000
/** Deadline for a mount: systemd itself gives up on a missing device after 90 s by default. */
const mountMs = 120_000
const unitsMs = 180_000

export interface Delivered {
  /** Names of the keys whose file or unit changed. */
  readonly changed: readonly string[]
  /** Keys whose user or group does not exist yet; a later delivery sets their owner. */
  readonly ownerless: readonly string[]
  /** Keys that were left out after the activation, because their user or group does not exist. */
  readonly unowned: readonly SeenKey[]
}

/**
 * Compares each key with the file on the machine, in one round trip. The machine answers with a hash over a random
 * nonce and the content. A reader of several answers therefore cannot tell whether a key has changed.
 */
export async function inspectKeys(host: Host, keys: readonly ResolvedKey[], run: Run): Promise<SeenKey[]> {
  if (keys.length === 0) return []
  const what = 'compare keys'
  const nonce = randomBytes(32).toString('hex')
  const records = keys.map((key) => [key.path, keyUnitFile(key)?.path ?? '', ...ownerFields(key)])
  const script = targetScript('keys/inspect', { keys: records, made_as: keyFolderMadeAs })
  const result = await host.script(script, [], {
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
      `machine '${host.machine}': cannot ${what}: expected ${keys.length} answers, got ${answers.length}`,
    )
  }
  return keys.map((key, index) => seenKey(key, nonce, answers[index] ?? ''))
}

/** Parses one answer: `HASH MODE UID:GID WANTED-UID:WANTED-GID SHUT UNIT-HASH`; HASH is `-` for a missing file. */
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
 * Delivers missing and wrong keys. The phase before activation delivers only its own keys, even if a user or group is
 * missing. The phase after activation checks all keys, so that the keys of the first phase get their owner. A key
 * without an owner does not hold up the other keys. The caller then refuses the key.
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
  // All keys count, because keys of the other phase also lie in these folders, now or later.
  if (stale.length > 0 || changed.some((each) => each.shut)) {
    await openFolders(host, keys, run, { beforeActivation: phase === 'pre-activation' })
  }
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

/** Mounts file systems at or above the destinations, as RequiresMountsFor= of a unit would. */
async function mountDestinations(host: Host, paths: readonly string[], run: Run): Promise<void> {
  const what = 'mount the destination of keys'
  const units = [...new Set(paths.flatMap(mountUnitsFor))]
  if (units.length === 0) return
  const mount = { what, script: 'keys/mount', values: { units }, timeoutMs: mountMs }
  await runScript(host, mount, run, () => {})
}

/**
 * Returns the mount unit of every directory above the file, with its name as from systemd-escape --path. `/` and /run
 * are always mounted.
 */
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
 * Writes the unit files that differ and starts the units, as far as systemd has them. Restarts the units of replaced
 * keys. systemd then restarts units that `Requires=` them, so that no service continues with the old secret.
 */
async function refreshUnits(host: Host, changed: readonly SeenKey[], run: Run): Promise<void> {
  const what = 'start the units of keys'
  const files = changed.filter((each) => each.unitDiffers).flatMap((each) => keyUnitFile(each.key) ?? [])
  await refuseForeignUnits(host, files, run)
  await placeFiles(host, files, { run, what: 'write the units of keys' })
  const units = changed.flatMap(({ key, state }) => {
    const unit = keyUnitName(key.name)
    if (unit === undefined) return []
    const verb =
      state === 'differs' || state === 'metadata differs' || state === 'unknown' ? 'restart' : 'start'
    return [[unit, verb, atBoot(key)]]
  })
  const values = { units, written: files.length > 0 }
  await runScript(host, { what, script: 'keys/start', values, timeoutMs: unitsMs }, run, () => {})
}

/** Returns how systemd treats a key's unit at boot; `keep` leaves the decision to the closure. */
function atBoot({ os, path }: ResolvedKey): 'enable' | 'disable' | 'keep' {
  if (!keyCustoms(os).writesUnits) return 'keep'
  return survivesReboot(path) ? 'enable' : 'disable'
}

async function refuseForeignUnits(host: Host, files: readonly PlacedFile[], run: Run): Promise<void> {
  if (files.length === 0) return
  const what = 'look at the units of keys'
  const values = { mark: keyUnitMark, units: files.map((file) => file.path) }
  const question = { what, script: 'keys/foreign', values, timeoutMs: unitsMs }
  const { stdout } = await runScript(host, question, run, () => {})
  const foreign = stdout
    .split('\n')
    .flatMap((index) => (index === '' ? [] : (files[Number(index)]?.path ?? [])))
  if (foreign.length === 0) return
  throw failure(
    'FOREIGN',
    `machine '${host.machine}' has ${foreign.join(', ')}, which hydra-ops did not write`,
    {
      machine: host.machine,
      hint: 'rename that unit or the key, then deploy again',
    },
  )
}

/** Removes dropped keys, and the units whose names no longer belong to a key. */
export async function removeKeys(host: Host, dropped: DroppedKeys, run: Run): Promise<void> {
  if (dropped.paths.length === 0 && dropped.names.length === 0) return
  const what = 'remove dropped keys'
  const units = dropped.names.flatMap((name) => keyUnitName(name) ?? [])
  const keys = dropped.paths.map((path) => [path, stagedPath(path)])
  const values = { mark: keyUnitMark, folder: unitFolder, units, keys }
  await runScript(host, { what, script: 'keys/remove', values, timeoutMs: unitsMs }, run, () => {})
}

import { createHash } from 'node:crypto'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { type PlacedFile, placeFiles } from '../remote/place-files.js'
import { askMachine, fact, runScript } from '../remote/run-script.js'
import { recordNixStart } from './nix-start.js'

/** A file of additional Nix settings, which a task writes later than the main settings. The main file includes it. */
export interface FurtherSettings {
  readonly file: string
  readonly content: string
  /** Other files that the task writes with the settings. */
  readonly others?: readonly PlacedFile[]
}

/** Settings of a builder that signs what it builds. */
export const signingFile = '/etc/nix/hydra-ops-signing.conf'
/** Settings of a machine that fetches from its builders. */
export const cachesFile = '/etc/nix/hydra-ops-caches.conf'

const probeMs = 120_000

/** Hashes of a settings file and of its other files; `-` stands for a missing file. */
interface SeenSettings {
  readonly settings: string
  readonly others: readonly string[]
  /** Whether the daemon has not yet read its current settings. */
  readonly due: boolean
}

export async function lookAtSettings(
  host: Host,
  { file, others = [] }: Omit<FurtherSettings, 'content'>,
  run: Run,
): Promise<SeenSettings> {
  const question = {
    what: 'look at further settings of Nix',
    script: 'tasks/nix-settings/look',
    values: { settings: file, others: others.map(({ path }) => path) },
    timeoutMs: probeMs,
  }
  const facts = await askMachine(host, question, run)
  return {
    settings: fact(facts, 'settings'),
    others: facts.get('other') ?? [],
    due: fact(facts, 'restart') === 'due',
  }
}

/** Lists the faults of a settings file, of other files, and of the daemon that should have read the settings. */
export function settingsFaults(
  seen: SeenSettings,
  { file, content, others = [] }: FurtherSettings,
): string[] {
  return [
    ...(seen.settings === sha256(content) ? [] : [`${file} differs`]),
    ...others.flatMap((other, index) =>
      seen.others[index] === sha256(other.content) ? [] : [`${other.path} differs`],
    ),
    ...(seen.due ? ['nix-daemon has not been restarted since its settings changed'] : []),
  ]
}

/** Writes a settings file and its other files, and restarts the daemon if the settings changed. */
export async function writeSettings(
  host: Host,
  { file, content, others = [] }: FurtherSettings,
  run: Run,
): Promise<void> {
  const what = 'write further settings of Nix'
  const values = { settings: file, wanted: sha256(content) }
  await runScript(host, { what, script: 'tasks/nix-settings/note', values }, run)
  const placed = { path: file, content, mode: 0o644, user: 'root', group: 'root' }
  await placeFiles(host, [placed, ...others], { run, what })
  const restart = {
    what: 'restart the Nix daemon',
    script: 'tasks/nix-settings/restart',
    hint: 'journalctl -u nix-daemon on the machine shows more',
  }
  await runScript(host, restart, run)
  await recordNixStart(host, run)
}

/** Removes a settings file and its other files, and restarts the daemon if the settings file existed. */
export async function removeSettings(
  host: Host,
  { file, others = [] }: Omit<FurtherSettings, 'content'>,
  run: Run,
): Promise<void> {
  const values = { settings: file, others: others.map(({ path }) => path) }
  await runScript(
    host,
    { what: 'remove further settings of Nix', script: 'tasks/nix-settings/remove', values },
    run,
  )
  await recordNixStart(host, run)
}

function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

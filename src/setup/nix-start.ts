import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { runScript } from '../remote/run-script.js'
import { nixSettingsFile } from './nix-config.js'

/** Record on the machine of the last start of Nix: the files on which the start depended, and their states. */
export const nixRecordFile = '/var/lib/hydra-ops/nix-starts'

/**
 * Records that Nix starts with its current settings, so that a look need not start Nix. Each change of the settings
 * needs a new record.
 */
export async function recordNixStart(host: Host, run: Run): Promise<void> {
  const values = { record: nixRecordFile, settings: nixSettingsFile }
  await runScript(host, { what: 'record that Nix starts', script: 'tasks/nix/record', values }, run)
}

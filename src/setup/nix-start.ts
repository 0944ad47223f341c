import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { runScript } from '../remote/run-script.js'
import { nixSettingsFile } from './nix-config.js'

/** File on the machine with the files of a Nix that has started, and their times. */
export const nixRecordFile = '/var/lib/hydra-ops/nix-starts'

/** Records that Nix starts with its present settings, so that a look need not start Nix. Each new setting needs it. */
export async function recordNixStart(host: Host, run: Run): Promise<void> {
  const values = { record: nixRecordFile, settings: nixSettingsFile }
  await runScript(host, { what: 'record that Nix starts', script: 'tasks/nix/record', values }, run)
}

import type { Nix } from '../src/core/nix.js'
import { expectSuccess, type NixCommand } from './nix-command.js'
import { pathsPerCall } from './store-queries.js'

const dumpMs = 5 * 60_000
const what = 'describe paths for another Nix database'

/** Creates the query for the lines that `nix-store --load-db` reads. A path without a deriver has an empty line. */
export function createRegistration(command: NixCommand): Nix['registration'] {
  return async (paths, run) => {
    let lines = ''
    for (let at = 0; at < paths.length; at += pathsPerCall) {
      const args = ['--dump-db', ...paths.slice(at, at + pathsPerCall)]
      const result = await command.run('nix-store', args, { signal: run.signal, timeoutMs: dumpMs, what })
      lines += expectSuccess(result, what)
    }
    return lines
  }
}

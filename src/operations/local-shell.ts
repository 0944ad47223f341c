import type { Ops } from '../core/context.js'
import { MachineName } from '../core/names.js'
import type { Shell } from '../remote/run-script.js'

const shell = '/bin/sh'

/** Returns a shell on this host. */
export function localShell({ local }: Pick<Ops, 'local'>): Shell {
  return {
    machine: MachineName.parse('localhost'),
    script: (text, args, { signal, timeoutMs, what }) =>
      local.run([shell, '-c', text, shell, ...args], { signal, timeoutMs, what }),
  }
}

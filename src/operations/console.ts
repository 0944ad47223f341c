import { existsSync, readFileSync } from 'node:fs'
import type { AnyProvider } from '../core/bind-provider.js'
import type { Ops } from '../core/context.js'
import { failure, usageError } from '../core/errors.js'
import type { Json } from '../core/json.js'
import { MachineName } from '../core/names.js'
import type { Resource } from '../core/provider.js'
import { machineOf, resourceOf } from '../machine/resource.js'

export interface ConsoleRequest {
  readonly deployment: string | undefined
  readonly machine: string
}

type Terminal = NonNullable<AnyProvider['console']>

/** Opens the serial console on the user's terminal; returns the exit status of the program that shows it. */
export async function openConsole(ops: Ops, request: ConsoleRequest): Promise<number> {
  const { terminal, resource } = await terminalOf(ops, request)
  return ops.local.interactive(await terminal.command(resource), { signal: ops.signal })
}

/** Returns the output of the machine's serial console since the last start. */
export async function consoleLog(ops: Ops, request: ConsoleRequest): Promise<string> {
  const { terminal, resource } = await terminalOf(ops, request)
  const file = terminal.logFile(resource)
  if (file === undefined || !existsSync(file)) {
    throw failure('NO_CONSOLE_LOG', `there is no console log of machine '${request.machine}' yet`, {
      machine: request.machine,
    })
  }
  return lastBoot(readFileSync(file, 'utf8'))
}

/**
 * Returns the text since the last start of a Linux kernel, with the firmware's preceding lines. A text without a kernel
 * is returned whole.
 */
export function lastBoot(text: string): string {
  const kernel = text.lastIndexOf('Linux version ')
  if (kernel < 0) return text
  const earlier = text.lastIndexOf('Linux version ', kernel - 1)
  const firmware = text.lastIndexOf('SeaBIOS', kernel)
  const start = firmware > earlier ? firmware : kernel
  return text.slice(text.lastIndexOf('\n', start) + 1)
}

async function terminalOf(
  ops: Ops,
  request: ConsoleRequest,
): Promise<{ terminal: Terminal; resource: Resource<Json, Json, Json> }> {
  const record = await ops.store.resolve(request.deployment)
  const known = machineOf(record, request.machine)
  const { console: terminal, name } = ops.providers.named(known.provider)
  if (terminal === undefined) {
    throw usageError(`machine '${request.machine}' has no console: provider ${name} offers none`, {
      machine: request.machine,
    })
  }
  return { terminal, resource: resourceOf(ops, record, MachineName.parse(request.machine)) }
}

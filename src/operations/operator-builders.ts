import type { Ops } from '../core/context.js'
import type { DeploymentRecord } from '../core/deployment.js'
import { failure, messageOf, OpsError } from '../core/errors.js'
import type { MachineResult } from '../core/events.js'
import { MachineName } from '../core/names.js'
import type { OperatorEntry } from '../core/operator-builders.js'
import type { Run } from '../core/run.js'
import { failedResult, secondsSince } from '../machine/finish.js'
import { hindrances, hostList, type OperatorUse, operatorBuilders } from '../machine/operator-builders.js'
import { localShell } from './local-shell.js'

/** Name of the operator host in results. */
const operator = MachineName.parse('operator')

function runOf(ops: Ops): Run {
  return {
    signal: ops.signal,
    log: (line) => ops.events.emit({ kind: 'line', machine: operator, line }),
  }
}

/** Lines for the builder list of this host's Nix daemon, and ssh settings that root needs. */
export interface HostLines {
  readonly list: string
  readonly lines: readonly string[]
  readonly sshBlocks: readonly string[]
  /** Reasons why this host's Nix cannot use its builders. */
  readonly hindrances: readonly string[]
}

/** Returns the lines that root must add to offer the builders to every user of this host. */
export async function hostLines(ops: Ops, deployment: string | undefined): Promise<HostLines> {
  const use = await operatorBuilders(ops, await ops.store.resolve(deployment), runOf(ops))
  if (use === undefined) throw noneForOperator()
  return {
    list: hostList,
    lines: use.entries.map(({ line }) => line),
    sshBlocks: use.entries.flatMap(({ sshBlock }) => sshBlock ?? []),
    hindrances: hindrances(ops, use),
  }
}

function noneForOperator(): Error {
  return failure('NO_BUILDERS', 'no machine of the deployment builds for this host yet', {
    hint: 'set deployment.builder.for = "operator" on a machine, then run hydra-ops deploy',
  })
}

/** Runs test builds on builders as this host's Nix would; tests every builder if `wanted` is absent. */
export async function testFromHere(
  ops: Ops,
  record: DeploymentRecord,
  wanted: string | undefined,
): Promise<MachineResult[]> {
  const start = Date.now()
  const run = runOf(ops)
  try {
    const use = await operatorBuilders(ops, record, run)
    const entries = use?.entries.filter(({ builder }) => wanted === undefined || builder.machine === wanted)
    if (use === undefined || entries === undefined) return []
    const lost = use.left.find(({ machine }) => wanted === undefined || machine === wanted)
    if (lost !== undefined)
      throw failure('BUILDER_LOGIN', `builder '${lost.machine}' has no address for this host: ${lost.why}`)
    for (const entry of entries) await prove(ops, use, entry, run)
    return [{ machine: operator, outcome: 'unchanged', seconds: secondsSince(start) }]
  } catch (error) {
    ops.events.emit({ kind: 'line', machine: operator, line: `failed: ${messageOf(error)}` })
    return [failedResult(operator, undefined, secondsSince(start), error, [])]
  }
}

async function prove(ops: Ops, use: OperatorUse, entry: OperatorEntry, run: Run): Promise<void> {
  const { builder, name, line } = entry
  if (line.split(' ')[3] === '0') {
    run.log(`builder '${builder.machine}' is drained, and not tried`)
    return
  }
  if (use.unreached.includes(entry)) {
    const [text = ''] = hindrances(ops, { ...use, untrusted: false, unreached: [entry], left: [] })
    throw failure('BUILDER_LOGIN', text)
  }
  const place = {
    shell: localShell(ops),
    through: use.sshConfig === undefined ? ('daemon' as const) : ('own' as const),
    runAs: '',
    // A daemon that does not trust the user reads only the list in its own settings.
    list: use.untrusted ? hostList : use.list,
    name,
    key: { file: use.keyFile, user: use.sshConfig === undefined ? 'root' : ops.operator.user },
    sshConfig: use.sshConfig ?? '',
  }
  try {
    await ops.proveBuilder(place, builder, run)
  } catch (error) {
    throw use.untrusted ? untrusted(ops, use, error) : onThisHost(error)
  }
}

/** Rewrites an error to name this host as all other messages do. */
function onThisHost(error: unknown): unknown {
  const subject = "machine 'localhost'"
  if (!(error instanceof OpsError) || !error.message.startsWith(subject)) return error
  const { code, detail, hint } = error
  return failure(code, `this host${error.message.slice(subject.length)}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
    ...(detail === undefined ? {} : { detail }),
  })
}

/** Explains a failed proof by the daemon's lack of trust, with the lines that root must add. */
function untrusted(ops: Ops, use: OperatorUse, cause: unknown): unknown {
  if (cause instanceof OpsError && cause.code === 'INTERRUPTED') return cause
  const [text = ''] = hindrances(ops, { ...use, unreached: [], left: [] })
  return failure('BUILDER_UNTRUSTED', text, { cause, detail: messageOf(cause) })
}

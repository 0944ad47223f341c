import { describeEnd, lastLines } from '../core/command-result.js'
import { type Bounds, withinDeadline } from '../core/deadline.js'
import { messageOf, throwIfAborted } from '../core/errors.js'
import type { HealthChecks } from '../core/health-checks.js'
import { httpStatus } from '../core/http-request.js'
import type { MachineName } from '../core/names.js'
import { connectFromOperator } from '../core/operator-connection.js'
import { pause } from '../core/pause.js'
import type { Run } from '../core/run.js'
import { settleAll } from '../core/settle.js'
import type { Host } from '../core/ssh.js'

export interface CheckContext {
  readonly host: Host
  readonly machine: MachineName
  readonly run: Run
}

export interface CheckFailure {
  /** Name of the check as shown to the user: its description, or its action. */
  readonly check: string
  /** Last observation; the end of the unit's journal follows if the check is about a unit. */
  readonly detail: string
}

/** A check of any kind, reduced to its attempts. */
interface Check {
  readonly name: string
  readonly period: number
  readonly timeout: number
  readonly total: number
  /** Makes one attempt; `undefined` means healthy, and a text describes the fault. */
  attempt(bounds: Bounds): Promise<string | undefined>
  /** Returns further evidence of a failure, for the report. */
  evidence?(): Promise<string>
}

/** Deadline for reading a unit's journal after a failed check. */
const journalMs = 15_000
const journalLines = 20
/** Number of lines to show from a command's failing attempt. */
const commandLines = 3

/**
 * Runs all checks at once, and repeats each until it succeeds or no time is left for another attempt. A check without a
 * host tests the machine's own loopback through the existing connection.
 */
export async function runChecks(
  kind: 'healthChecks' | 'preDeployChecks',
  checks: HealthChecks,
  context: CheckContext,
): Promise<CheckFailure[]> {
  const all = [
    ...checks.cmd.map((check) => commandCheck(check, context)),
    ...checks.http.map((check) => httpCheck(check, context)),
    ...checks.tcp.map((check) => tcpCheck(check, context)),
    ...checks.systemd.map((check) => unitCheck(check, context)),
  ]
  const failures = await settleAll(all.map((check) => untilHealthy(kind, check, context.run)))
  return failures.flatMap((failed) => failed ?? [])
}

async function untilHealthy(kind: string, check: Check, run: Run): Promise<CheckFailure | undefined> {
  const end = performance.now() + check.total * 1000
  // The last attempt may use its full timeout, because a shorter timeout would hide the fault.
  const timeoutMs = Math.ceil(Math.min(check.timeout, check.total) * 1000)
  let last: string | undefined
  do {
    const wrong = await oneAttempt(check, timeoutMs, run)
    if (wrong === undefined) {
      run.log(`${kind}: ${check.name}: ok`)
      return undefined
    }
    if (wrong !== last) run.log(`${kind}: ${check.name}: ${wrong}`)
    last = wrong
    await pause(Math.max(0, Math.min(check.period * 1000, end - performance.now())), run.signal)
  } while (performance.now() < end)
  const evidence = (await check.evidence?.()) ?? ''
  const detail = `${check.name}: ${last} (tried for ${check.total} s)`
  return { check: check.name, detail: evidence === '' ? detail : `${detail}\n${evidence}` }
}

async function oneAttempt(check: Check, timeoutMs: number, run: Run): Promise<string | undefined> {
  try {
    return await check.attempt({ signal: run.signal, timeoutMs })
  } catch (error) {
    // An error that an attempt throws counts as its observation; only an interruption ends the series.
    throwIfAborted(run.signal)
    return messageOf(error)
  }
}

function commandCheck(check: HealthChecks['cmd'][number], { host }: CheckContext): Check {
  const name = check.description ?? `cmd: ${check.cmd.join(' ')}`
  return {
    ...check,
    name,
    attempt: async (limits) => {
      const result = await host.exec(check.cmd, { ...limits, what: name })
      if (result.kind === 'exited' && result.code === 0) return undefined
      const said = lastLines(`${result.stdout}\n${result.stderr}`, commandLines)
      return said === '' ? describeEnd(result) : `${describeEnd(result)}: ${said}`
    },
  }
}

function httpCheck(check: HealthChecks['http'][number], { host }: CheckContext): Check {
  const hostName = check.host ?? 'localhost'
  const url = `${check.scheme}://${hostName.includes(':') ? `[${hostName}]` : hostName}:${check.port}${check.path}`
  return {
    ...check,
    name: check.description ?? `http: ${url}`,
    attempt: async (bounds) => {
      const status = await httpStatus({
        ...bounds,
        url,
        headers: check.headers,
        checkCertificate: !check.insecureSSL,
        connect: (limits) => connectFor(check.host, check.port, host, limits),
      })
      return status >= 200 && status < 300 ? undefined : `the server answered with status ${status}`
    },
  }
}

function tcpCheck(check: HealthChecks['tcp'][number], { host }: CheckContext): Check {
  return {
    ...check,
    name: check.description ?? `tcp: ${check.host ?? 'localhost'}:${check.port}`,
    attempt: ({ signal, timeoutMs }) =>
      withinDeadline(signal, timeoutMs, async (deadline) => {
        try {
          const limits = { signal: deadline.signal, timeoutMs }
          const connection = await connectFor(check.host, check.port, host, limits)
          connection.on('error', () => {}).destroy()
          return undefined
        } catch (error) {
          if (deadline.expired()) return `no connection within ${timeoutMs / 1_000} s`
          throw error
        }
      }),
  }
}

function connectFor(hostName: string | null | undefined, port: number, host: Host, bounds: Bounds) {
  return hostName == null
    ? host.connectTcp('127.0.0.1', port, bounds)
    : connectFromOperator(hostName, port, bounds.signal)
}

function unitCheck(check: HealthChecks['systemd'][number], { host, run }: CheckContext): Check {
  const name = check.description ?? `systemd: ${check.unit}`
  return {
    ...check,
    name,
    attempt: async (limits) => {
      const result = await host.exec(['systemctl', 'is-active', '--', check.unit], { ...limits, what: name })
      if (result.kind === 'exited' && result.code === 0) return undefined
      return result.stdout.trim() === '' ? describeEnd(result) : `the unit is ${result.stdout.trim()}`
    },
    evidence: async () => {
      const argv = ['journalctl', '--no-pager', '-n', String(journalLines), '-u', check.unit]
      try {
        const result = await host.exec(argv, {
          signal: run.signal,
          timeoutMs: journalMs,
          what: `read the journal of ${check.unit}`,
        })
        return result.stdout.trim()
      } catch (error) {
        return `the journal of ${check.unit} could not be read: ${messageOf(error)}`
      }
    },
  }
}

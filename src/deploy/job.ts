import type { RunLogs } from '../core/context.js'
import type { NetworkDefinition } from '../core/definition.js'
import type { MachineRecord } from '../core/deployment.js'
import type { Stage } from '../core/events.js'
import type { StorePath } from '../core/names.js'
import type { KeyTexts } from '../keys/keys.js'
import { type DefinedMachine, machineRun } from '../machine/machine.js'
import { drainFirst } from './drain.js'
import type { DeployRequest } from './request.js'

/** A machine on its way through the deploy pipeline. */
export interface Job extends DefinedMachine {
  readonly request: DeployRequest
  /** Network of the run, which may hold only some machines. */
  readonly network?: NetworkDefinition | undefined
  /** Current stage, which errors report. */
  at: Stage
  /** Secrets of set-up tasks by name, each read once per run, kept in memory only. */
  readonly secretTexts: Map<string, Promise<string>>
  readonly keyTexts: KeyTexts
  /** System and record before this run switched the machine; absent while nothing was switched. */
  switchedFrom: { readonly path: StorePath; readonly deployed: MachineRecord['deployed'] } | undefined
}

export function newJob(
  base: Pick<Job, 'ops' | 'deployment' | 'request' | 'definition' | 'network' | 'nixosImage'>,
  logs: RunLogs | undefined,
): Job {
  const { ops, definition } = base
  const machine = definition.name
  return {
    ...base,
    machine,
    provider: ops.providers.named(definition.providerName),
    acceptHostKey: base.request.acceptHostKey,
    run: machineRun(ops, machine, logs),
    at: 'inspect',
    secretTexts: new Map(),
    keyTexts: new Map(),
    switchedFrom: undefined,
    changed: false,
    host: undefined,
    sudoPassword: undefined,
  }
}

/** Returns whether a deploy activates the closure of a machine whose current profile is `present`. */
export function activationDue(job: Job, present: string | undefined, wanted: StorePath | undefined): boolean {
  return present !== wanted || alwaysActivates(job)
}

/** Returns whether a deploy activates even an unchanged closure. */
export function alwaysActivates({ request, definition }: Job): boolean {
  return request.alwaysActivate || definition.options.alwaysActivate
}

/** Returns the activation options that the flags of the deploy determine. */
export function activationOptions(job: Job) {
  const { mode, onDegraded, confirmSeconds, allowReboot, bootOnce, drain } = job.request
  const beforeReboot = () => drainFirst(job, drain, { how: 'rebooted' })
  return { mode, onDegraded, confirmSeconds, bootOnce: allowReboot && bootOnce, beforeReboot }
}

export function enter(job: Job, stage: Stage, detail?: string): void {
  job.at = stage
  job.ops.events.emit({
    kind: 'stage',
    machine: job.machine,
    stage,
    ...(detail === undefined ? {} : { detail }),
  })
}

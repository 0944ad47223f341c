import {
  type DeploymentHead,
  type DeploymentRecord,
  type MachineRecord,
  newMachines,
} from '../core/deployment.js'
import { MachineName } from '../core/names.js'
import type { DeploymentSession, JournalFacts } from '../core/session.js'
import { settleAll } from '../core/settle.js'
import { changed, machineRecord } from './session.js'

/**
 * Begins a session that keeps its plan in memory. `begin` opens the journal, and `commitNetwork` writes the facts that
 * concern all machines. `commit` writes one machine, whose later changes are then written at once.
 */
export function draftSession(held: DeploymentSession): DeploymentSession {
  const { machines: known, ...knownHead } = held.record
  const machines = newMachines(known)
  let head: DeploymentHead = knownHead
  let record: DeploymentRecord = { ...head, machines }
  let begun = false
  let networkCommitted = false
  const committed = new Set<MachineName>()
  const waitingEntries: JournalFacts[] = []
  const waitingFiles: (() => Promise<void>)[] = []

  /** Returns the part of a machine's record that may be written now; `undefined` keeps the machine off the disk. */
  const writable = (machine: MachineName, written: MachineRecord | undefined): MachineRecord | undefined => {
    const drafted = machines[machine]
    if (committed.has(machine)) return drafted
    if (written === undefined || drafted === undefined) return written
    const obsolete = networkCommitted ? drafted.obsolete : written.obsolete
    if (written.lastResult === drafted.lastResult && written.obsolete === obsolete) return written
    return { ...written, obsolete, lastResult: drafted.lastResult }
  }
  const write = async (machine: MachineName): Promise<void> => {
    if (!begun) return
    const written = held.record.machines[machine]
    const wanted = writable(machine, written)
    if (wanted === written) return
    if (wanted === undefined) await held.removeMachine(machine)
    else await held.putMachine(machine, wanted)
  }
  const writeAll = async (): Promise<void> => {
    const differing = Object.entries(machines).filter(
      ([name, machine]) => known[MachineName.parse(name)] !== machine,
    )
    await settleAll(differing.map(([name]) => write(MachineName.parse(name))))
  }
  return {
    writable: true,
    paths: held.paths,
    get record() {
      return record
    },
    get written() {
      return held.record
    },
    async updateDeployment(change) {
      head = changed(head, change)
      record = { ...head, machines }
      if (begun && networkCommitted) await writeDescription()
    },
    async updateMachine(machine, change) {
      machines[machine] = changed(machineRecord(record, machine), change)
      await write(machine)
    },
    async putMachine(machine, wanted) {
      machines[machine] = wanted
      await write(machine)
    },
    async removeMachine(machine) {
      delete machines[machine]
      await write(machine)
    },
    async journal(entry) {
      if (begun) await held.journal(entry)
      else waitingEntries.push(entry)
    },
    remove: () => held.remove(),
    get begun() {
      return begun
    },
    async begin(entry) {
      begun = true
      await held.journal(entry)
      for (const each of waitingEntries.splice(0)) await held.journal(each)
      await writeAll()
    },
    async commitNetwork() {
      networkCommitted = true
      await writeDescription()
      await writeAll()
      for (const action of waitingFiles.splice(0)) await action()
    },
    async commit(machine) {
      committed.add(machine)
      await write(machine)
    },
    async whenWriting(action) {
      if (networkCommitted) await action()
      else waitingFiles.push(action)
    },
  }

  async function writeDescription(): Promise<void> {
    const { description } = head
    if (held.record.description === description) return
    await held.updateDeployment((draft) => Object.assign(draft, { description }))
  }
}

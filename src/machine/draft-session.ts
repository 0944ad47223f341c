import type { DeploymentRecord } from '../core/deployment.js'
import type { MachineName } from '../core/names.js'
import type { HeldDeployment } from '../core/store.js'
import type { DeploymentSession, JournalFacts } from './session.js'

/**
 * A session whose plan is kept in memory. `begin` opens the journal, `commitNetwork` writes what concerns all
 * machines, and `commit` writes one machine, whose changes are written at once from then on.
 */
export function draftSession(held: HeldDeployment): DeploymentSession {
  let draft = structuredClone(held.record)
  let begun = false
  let networkCommitted = false
  const committed = new Set<MachineName>()
  const waitingEntries: JournalFacts[] = []
  const waitingFiles: (() => void)[] = []

  /** Brings the written record up to the draft, as far as that may be written. */
  const project = (written: DeploymentRecord): void => {
    for (const name of committed) {
      const machine = draft.machines[name]
      if (machine === undefined) delete written.machines[name]
      else written.machines[name] = machine
    }
    const drafts = new Map(Object.entries(draft.machines))
    for (const [name, machine] of Object.entries(written.machines)) {
      const drafted = drafts.get(name)
      if (drafted === undefined || drafted === machine) continue
      machine.lastResult = drafted.lastResult
      if (networkCommitted) machine.obsolete = drafted.obsolete
    }
    if (networkCommitted) written.description = draft.description
  }
  const write = () => {
    if (begun) held.update(project)
  }
  return {
    writable: true,
    paths: held.paths,
    get record() {
      return draft
    },
    get written() {
      return held.record
    },
    update(change) {
      const next = structuredClone(draft)
      change(next)
      draft = next
      write()
    },
    journal(entry) {
      if (begun) held.journal(entry)
      else waitingEntries.push(entry)
    },
    get begun() {
      return begun
    },
    begin(entry) {
      begun = true
      held.journal(entry)
      for (const each of waitingEntries.splice(0)) held.journal(each)
      write()
    },
    commitNetwork() {
      networkCommitted = true
      write()
      for (const action of waitingFiles.splice(0)) action()
    },
    commit(machine) {
      committed.add(machine)
      // A machine whose record says all this already costs no look at the disk.
      const [before, after] = [held.record.machines[machine], draft.machines[machine]]
      if (JSON.stringify(before) !== JSON.stringify(after)) write()
    },
    whenWriting(action) {
      if (networkCommitted) action()
      else waitingFiles.push(action)
    },
  }
}

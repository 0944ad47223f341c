import type { Machine, Medium, Rule } from './model.js'

/** The input of an engine that runs a machine. */
export interface Launch {
  readonly machine: Machine
  /** The machine's media by their UUIDs. */
  readonly media: ReadonlyMap<string, Medium>
  /** The folder of the run, with sockets, process IDs and the exit status. */
  readonly folder: string
  /** The file with the saved memory to resume from. */
  readonly stateFile: string | undefined
}

/** The part of the stand-in that runs machines; a folder represents each run. */
export interface Engine {
  /** Starts a machine; resolves with the NAT rules whose host port is taken. */
  launch(launch: Launch): Promise<readonly Rule[]>
  /** Returns how a run ended: `poweroff` by the guest, or `aborted` by a killed process; undefined during the run. */
  end(folder: string): 'poweroff' | 'aborted' | undefined
  pause(folder: string): Promise<void>
  resume(folder: string): Promise<void>
  reset(folder: string): Promise<void>
  pressPowerButton(folder: string): Promise<void>
  /** Ends a run at once. */
  quit(folder: string): Promise<void>
  /** Writes the memory of a paused machine. */
  saveMemory(folder: string, file: string): Promise<void>
  /** Forwards a port; returns false if the host's port is taken. */
  forward(folder: string, nic: number, rule: Rule): Promise<boolean>
  stopForwarding(folder: string, nic: number, rule: Rule): Promise<void>
  /** Continues to write to another medium, whose parent is the former medium. */
  switchDisk(folder: string, slot: string, medium: Medium): Promise<void>
  /** Writes the content of a running machine's medium into the parent, which takes the medium's place. */
  mergeIntoParent(folder: string, slot: string, medium: Medium, parent: Medium): Promise<void>
  /** Writes the content of a medium's parent into the medium, whose parent is then the grandparent. */
  mergeIntoChild(folder: string, medium: Medium, grandparent: Medium): Promise<void>
}

import type { Machine, Medium, Rule } from './model.js'

/** The input of an engine that runs a machine. */
export interface Launch {
  readonly machine: Machine
  /** The machine's media by their UUIDs. */
  readonly media: ReadonlyMap<string, Medium>
  /** The folder of the run: sockets, process numbers, the end. */
  readonly folder: string
  /** The memory to continue with. */
  readonly stateFile: string | undefined
}

/** A runner of machines, in which a folder stands for a run. */
export interface Engine {
  /** Starts a machine; resolves with the rules whose port of the host is taken. */
  launch(launch: Launch): Promise<readonly Rule[]>
  /** Returns the end of a run: by itself, or by the end of its process; undefined during the run. */
  end(folder: string): 'poweroff' | 'aborted' | undefined
  pause(folder: string): Promise<void>
  resume(folder: string): Promise<void>
  reset(folder: string): Promise<void>
  pressPowerButton(folder: string): Promise<void>
  /** Ends a run at once. */
  quit(folder: string): Promise<void>
  /** Writes the memory of a machine that is paused. */
  saveMemory(folder: string, file: string): Promise<void>
  /** Forwards a port; returns false where the host's port is taken. */
  forward(folder: string, nic: number, rule: Rule): Promise<boolean>
  stopForwarding(folder: string, nic: number, rule: Rule): Promise<void>
  /** Continues to write to another file, whose parent is the former file. */
  switchDisk(folder: string, slot: string, medium: Medium): Promise<void>
  /** Writes the content of a running machine's medium into the parent, which takes the medium's place. */
  mergeIntoParent(folder: string, slot: string, medium: Medium, parent: Medium): Promise<void>
  /** Writes the content of a medium's parent into the medium, whose parent is then the grandparent. */
  mergeIntoChild(folder: string, medium: Medium, grandparent: Medium): Promise<void>
}

import type { Machine, Medium, Rule } from './model.js'

/** What an engine needs to run a machine. */
export interface Launch {
  readonly machine: Machine
  /** The machine's media by their UUIDs. */
  readonly media: ReadonlyMap<string, Medium>
  /** The folder of the run: sockets, process numbers, how it ended. */
  readonly folder: string
  /** The memory to continue with. */
  readonly stateFile: string | undefined
}

/** Runs machines. A folder stands for a run. */
export interface Engine {
  /** Starts a machine; resolves with the rules whose port of the host is taken. */
  launch(launch: Launch): Promise<readonly Rule[]>
  /** How a run ended: by itself, or by the end of its process; undefined while it lasts. */
  end(folder: string): 'poweroff' | 'aborted' | undefined
  pause(folder: string): Promise<void>
  resume(folder: string): Promise<void>
  reset(folder: string): Promise<void>
  pressPowerButton(folder: string): Promise<void>
  /** Ends a run at once. */
  quit(folder: string): Promise<void>
  /** Writes the memory of a machine that is paused. */
  saveMemory(folder: string, file: string): Promise<void>
  /** Forwards a port; false where the host's port is taken. */
  forward(folder: string, nic: number, rule: Rule): Promise<boolean>
  stopForwarding(folder: string, nic: number, rule: Rule): Promise<void>
  /** Continues to write to another file, whose parent is the file of before. */
  switchDisk(folder: string, slot: string, medium: Medium): Promise<void>
  /** Writes what a medium of a running machine holds into its parent, which takes its place. */
  mergeIntoParent(folder: string, slot: string, medium: Medium, parent: Medium): Promise<void>
  /** Writes what a medium's parent holds into the medium, whose parent is now the one before. */
  mergeIntoChild(folder: string, medium: Medium, grandparent: Medium): Promise<void>
}

import { connect } from 'node:net'
import type { TaskMachine, TaskRun } from '../../src/core/setup-task.js'
import { debianMachine } from './debian-machine.js'

/** Creates the run of a task on the operator host, with secrets by name and access to local ports. */
export function taskRun(
  secrets: Readonly<Record<string, string>> = {},
  unchanged: readonly string[] = [],
  prune = false,
): TaskRun & { readonly lines: string[] } {
  const lines: string[] = []
  return {
    signal: new AbortController().signal,
    lines,
    log: (line) => void lines.push(line),
    secret: async (name) => {
      const found = secrets[name]
      if (found === undefined) throw new Error(`this test gave no secret ${name}`)
      return found
    },
    secretChanged: (name) => !unchanged.includes(name),
    prune,
    connect: (port, { signal }, address = '127.0.0.1') =>
      new Promise((resolve, reject) => {
        const socket = connect({ host: address, port, signal })
        socket.once('connect', () => resolve(socket))
        socket.on('error', reject)
      }),
  }
}

/** Creates a Debian machine `web` of the deployment `lab`. */
export function taskMachine(options: Record<string, unknown> = {}): TaskMachine {
  return { definition: debianMachine(options), deployment: 'lab', publishedPort: () => undefined }
}

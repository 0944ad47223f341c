import { createConnection, type Socket } from 'node:net'
import { createInterface } from 'node:readline'

const answerMs = 120_000

interface Message {
  readonly QMP?: unknown
  readonly return?: unknown
  readonly error?: { readonly desc: string }
  readonly event?: string
  readonly data?: { readonly device?: string; readonly error?: string }
}

/**
 * A client of QEMU's monitor socket in a folder. Socket paths must be short, so the client briefly changes to the
 * folder.
 */
export class Monitor {
  readonly #socket: Socket
  readonly #messages: AsyncIterator<string>
  readonly #events: Message[] = []

  private constructor(socket: Socket) {
    this.#socket = socket
    this.#messages = createInterface({ input: socket })[Symbol.asyncIterator]()
  }

  static async open(folder: string): Promise<Monitor> {
    const before = process.cwd()
    process.chdir(folder)
    const socket = createConnection('qmp.sock')
    process.chdir(before)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    const timer = setTimeout(() => socket.destroy(new Error('QEMU does not answer')), answerMs)
    timer.unref()
    socket.on('error', () => {})
    const monitor = new Monitor(socket)
    await monitor.#next()
    await monitor.execute('qmp_capabilities')
    return monitor
  }

  async #next(): Promise<Message> {
    const { value, done } = await this.#messages.next()
    if (done === true) throw new Error('QEMU ended the connection')
    const message: Message = JSON.parse(value)
    return message
  }

  async execute(command: string, given: object = {}): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: given })}\n`)
    for (;;) {
      const message = await this.#next()
      if (message.error !== undefined) throw new Error(`QEMU: ${command}: ${message.error.desc}`)
      if ('return' in message) return message.return
      if (message.event !== undefined) this.#events.push(message)
    }
  }

  /** Runs a command of QEMU's human monitor, and returns its output. */
  async command(line: string): Promise<string> {
    return String(await this.execute('human-monitor-command', { 'command-line': line })).trim()
  }

  /** Runs a block job, and waits for its end. */
  async runJob(command: string, given: object): Promise<void> {
    const id = 'merge'
    await this.execute(command, { 'job-id': id, ...given })
    for (;;) {
      const { event, data } = await this.#nextEvent()
      if (data?.device !== id) continue
      if (event === 'BLOCK_JOB_READY') await this.execute('block-job-complete', { device: id })
      if (event !== 'BLOCK_JOB_COMPLETED') continue
      if (data.error !== undefined) throw new Error(`QEMU: ${command}: ${data.error}`)
      return
    }
  }

  /** Returns the next event, which may have arrived before an answer. */
  async #nextEvent(): Promise<Message> {
    for (;;) {
      const message = this.#events.shift() ?? (await this.#next())
      if (message.event !== undefined) return message
    }
  }

  /** Waits until a query returns a wanted status. */
  async until(query: string, wanted: readonly string[], wrong: readonly string[]): Promise<string> {
    const end = Date.now() + answerMs
    for (;;) {
      const { status }: { status?: string } = Object(await this.execute(query))
      if (status !== undefined && wanted.includes(status)) return status
      if (status !== undefined && wrong.includes(status)) throw new Error(`QEMU: ${query}: ${status}`)
      if (Date.now() > end) throw new Error(`QEMU: ${query} stays ${status}`)
      await new Promise((resolve) => setTimeout(resolve, 30))
    }
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** Opens the monitor of a run, calls `action` and closes it. */
export async function withMonitor<Result>(
  folder: string,
  action: (monitor: Monitor) => Promise<Result>,
): Promise<Result> {
  const monitor = await Monitor.open(folder)
  try {
    return await action(monitor)
  } finally {
    monitor.close()
  }
}

import {
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { createServer, type Server } from 'node:net'
import { dirname, join } from 'node:path'
import type { Answer } from './answer.js'
import { pretended } from './pretended.js'
import { run } from './program.js'
import { afterRestart, type Between, before, hadDriver, leftOut, recordedLast } from './replay-plan.js'
import { Store } from './store.js'
import { type Transcript, transcriptsIn } from './usage.js'

export const recordedFolder = join(import.meta.dirname, '..', '..', 'fixtures', 'virtualbox')

export interface Replayed {
  readonly transcript: Transcript
  readonly expected: string
  readonly said: string
}

/** Lists all transcripts, in the order of their recording. */
export function recordedTranscripts(): Transcript[] {
  const files = readdirSync(recordedFolder).filter((name) => name.endsWith('.txt'))
  const all = files.sort().flatMap((file) => transcriptsIn(readFileSync(join(recordedFolder, file), 'utf8')))
  const last = (name: string): number => recordedLast.findIndex((pattern) => pattern.test(name))
  return all.sort((one, other) => last(one.name) - last(other.name))
}

/** Replays the calls of the transcripts in order. A folder replaces the recorded host's `/`. */
export async function replay(root: string): Promise<Replayed[]> {
  const seen: Replayed[] = []
  const names = new Names()
  const host = new Host(root)
  try {
    for (const transcript of recordedTranscripts()) {
      const number = transcript.name.slice(0, 3)
      await host.prepare(before[number] ?? {})
      if (transcript.name in leftOut) continue
      const { driver, command } = {
        driver: hadDriver(transcript.name),
        command: names.asOurs(transcript.command),
      }
      const meanwhile = before[number]?.meanwhile
      const answering = host.call(command, driver, afterRestart.includes(number))
      if (meanwhile !== undefined) await host.repeat(meanwhile, answering)
      const answer = withoutWarning(await answering, driver)
      seen.push({ transcript, ...names.compared(transcript, host.asRecorded(answer)) })
    }
  } finally {
    host.close()
  }
  return seen
}

/** A host in a folder, with its files, its ports and the stand-in. */
class Host {
  readonly #root: string
  readonly #servers: Server[] = []

  constructor(root: string) {
    this.#root = root
  }

  get #home(): string {
    return join(this.#root, 'root/.config/VirtualBox')
  }

  async prepare(between: Between): Promise<void> {
    for (const folder of between.folders ?? []) mkdirSync(join(this.#root, folder), { recursive: true })
    for (const [path, content] of Object.entries(between.files ?? {}))
      this.#put(join(this.#root, path), content)
    for (const command of between.commands ?? []) {
      const { exit, stderr } = await this.call(command, true)
      if (exit !== 0) throw new Error(`${command}: ${stderr}`)
    }
    for (const [from, to] of Object.entries(between.copies ?? {})) {
      copyFileSync(join(this.#root, from), join(this.#root, to))
    }
    for (const port of between.taken ?? []) await this.#take(port)
    const store = new Store(this.#home)
    if (between.interface !== undefined) {
      store.registry.interfaces.push({ ...between.interface, up: false })
      store.saveRegistry()
    }
    const end = (name: string, how: string): void => {
      const machine = store.find(name)
      if (machine === undefined || machine === 'inaccessible') throw new Error(`no machine ${name}`)
      writeFileSync(join(store.sessionFolder(machine.uuid), how), '')
    }
    for (const name of between.ended ?? []) end(name, 'ended')
    for (const name of between.killed ?? []) end(name, 'killed')
  }

  #put(path: string, content: number | string | undefined): void {
    if (content === undefined) {
      rmSync(path)
      return
    }
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, typeof content === 'string' ? content : 'content')
    if (typeof content === 'number') truncateSync(path, content)
  }

  async #take(port: number): Promise<void> {
    const server = createServer()
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, '127.0.0.1', resolve)
    })
  }

  close(): void {
    for (const server of this.#servers) server.close()
  }

  async call(command: string, driver: boolean, serviceRestarted = false): Promise<Answer> {
    const words = shellWords(command).map((word) =>
      word.replace(/^\/(srv|nonexist|root|tmp)\//, `${this.#root}/$1/`),
    )
    const variables = words[0] === 'env' ? words.filter((word) => /^[A-Z_]+=/.test(word)) : []
    const home = variables.find((word) => word.startsWith('VBOX_USER_HOME='))?.slice('VBOX_USER_HOME='.length)
    const argv = words.slice(variables.length === 0 ? 1 : variables.length + 2)
    return await run(argv, {
      home: home === undefined ? this.#home : join(this.#root, home),
      userHome: join(this.#root, 'root'),
      folder: this.#root,
      recorded: recordedFolder,
      settings: {
        driver,
        slowMs: 0,
        lingerMs: 0,
        translated: false,
        networksConf: join(this.#root, 'etc/vbox/networks.conf'),
        serviceRestarted,
      },
      engine: pretended,
    })
  }

  /** Repeats a call until another call has its answer. */
  async repeat(command: string, other: Promise<Answer>): Promise<void> {
    let answered = false
    const noted = other.then(() => {
      answered = true
    })
    while (!answered) {
      await this.call(command, true)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    await noted
  }

  asRecorded(answer: Answer): Answer {
    const plain = (text: string): string => text.replaceAll(this.#root, '')
    return { ...answer, stdout: plain(answer.stdout), stderr: plain(answer.stderr) }
  }
}

function withoutWarning(answer: Answer, driver: boolean): Answer {
  if (driver) return answer
  const last = 'until this problem is fixed.\n'
  const end = answer.stdout.indexOf(last) + last.length
  if (!answer.stdout.startsWith('WARNING: ') || end < last.length)
    throw new Error('no warning about the driver')
  return { ...answer, stdout: answer.stdout.slice(end) }
}

/** The text that replaced the rest of a long usage text in a recording. */
const usageCut = '\n[… usage text cut …]'

const uuid = /[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/g
const mac = /\b080027[0-9A-F]{6}\b/g

/** The recorded UUIDs and MAC addresses, and their counterparts in the stand-in. */
class Names {
  readonly #ours = new Map<string, string>()
  readonly #recorded = new Map<string, string>()

  /** Replaces recorded UUIDs with the stand-in's UUIDs. */
  asOurs(command: string): string {
    return command.replace(uuid, (name) => this.#ours.get(name) ?? name)
  }

  compared(transcript: Transcript, answer: Answer): { expected: string; said: string } {
    const blocks = / hdds$/.test(transcript.command)
    const show = ({ exit, stdout, stderr }: Answer): string => {
      const text = withoutTimes(blocks ? sortedBlocks(stdout) : stdout)
      return `exit: ${exit}\n--- stdout\n${text}--- stderr\n${withoutTimes(stderr)}`
    }
    const expected = show(transcript)
    const said = this.#asRecorded(expected, show(answer))
    const cut = expected.indexOf(usageCut)
    return cut < 0 ? { expected, said } : { expected: expected.slice(0, cut), said: said.slice(0, cut) }
  }

  #asRecorded(expected: string, said: string): string {
    for (const pattern of [uuid, mac]) {
      const theirs = expected.match(pattern) ?? []
      const ours = said.match(pattern) ?? []
      if (theirs.length !== ours.length) continue
      for (const [index, name] of theirs.entries()) {
        const own = ours[index] ?? ''
        if (this.#ours.has(name) || this.#recorded.has(own)) continue
        this.#ours.set(name, own)
        this.#recorded.set(own, name)
      }
    }
    const named = (name: string): string => this.#recorded.get(name) ?? name
    return said.replace(uuid, named).replace(mac, named)
  }
}

/** Replaces times, which differ between runs, with `…`. */
function withoutTimes(text: string): string {
  return text
    .replace(/VMStateChangeTime="[^"]*"/g, 'VMStateChangeTime="…"')
    .replace(/\/[0-9TZ-]+\.sav"/g, '/….sav"')
    .replace(/@ [0-9-]+T[0-9:.]+Z/g, '@ …')
    .replace(/^Timestamp: [0-9]+$/gm, 'Timestamp: …')
    .replace(/^(GuestAdditionsFacility_.*=[0-9]+),[0-9]+$/gm, '$1,…')
}

/** Sorts the media of a list by their paths, because the real list's order depends on the service's restarts. */
function sortedBlocks(text: string): string {
  const place = (block: string): string =>
    (block.match(/^Location:.*$/m)?.[0] ?? '').replace(uuid, '') + (block.match(/^Capacity.*$/m)?.[0] ?? '')
  const blocks = text.split(/\n\n/).filter((block) => block !== '')
  return blocks
    .sort((one, other) => (place(one) < place(other) ? -1 : 1))
    .map((block) => `${block}\n\n`)
    .join('')
}

/** Parses words as the recording shell quoted them: `\\` before a character, `'…'`, `$'…'`. */
export function shellWords(command: string): string[] {
  const words = command.match(/(?:\$'(?:[^'\\]|\\.)*'|'[^']*'|\\.|[^\s'\\])+/g) ?? []
  return words.map((word) =>
    word.replace(
      /\$'((?:[^'\\]|\\.)*)'|'([^']*)'|\\(.)/gs,
      (_, escapes: string | undefined, literal: string | undefined, single: string | undefined) =>
        escapes !== undefined
          ? escapes.replace(/\\(.)/g, (__, each: string) => (each === 'n' ? '\n' : each))
          : (literal ?? single ?? ''),
    ),
  )
}

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandResult } from '../../../src/core/ssh.js'

const folder = join(import.meta.dirname, '..', '..', 'fixtures', 'libvirt')

export interface Transcript {
  readonly command: string
  readonly result: CommandResult & { kind: 'exited' }
}

/** Reads the calls of one transcript file: `$ command`, `exit: n`, `--- stdout`, `--- stderr`, `==========`. */
export function transcripts(name: string): Transcript[] {
  const text = readFileSync(join(folder, `${name}.txt`), 'utf8')
  return text.split(/^==========\n/m).flatMap((block) => {
    const match = /^\$ (.*)\nexit: (\d+).*\n--- stdout\n([\s\S]*?)--- stderr\n([\s\S]*)$/m.exec(block)
    if (match === null) return []
    const [, command = '', code, stdout = '', stderr = ''] = match
    return [{ command, result: { kind: 'exited', code: Number(code), stdout, stderr } }]
  })
}

export function transcript(name: string, command: string, nth = 0): Transcript {
  const found = transcripts(name).filter((each) => each.command.includes(command))[nth]
  if (found === undefined) throw new Error(`no '${command}' in transcript ${name}`)
  return found
}

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { CommandResult } from '../../../src/core/ssh.js'

const folder = join(import.meta.dirname, '..', '..', 'fixtures', 'virtualbox')

/** Returns a recorded answer of the real VBoxManage, by the beginning of the transcript's name, such as `115`. */
export function transcript(number: string): CommandResult & { kind: 'exited' } {
  const text = readFileSync(join(folder, `${number.slice(0, 1)}xx.txt`), 'utf8')
  const from = text.indexOf(`# VBoxManage transcript: ${number}`)
  if (from < 0) throw new Error(`no transcript ${number}`)
  const block = text.slice(from, text.indexOf('----- end -----', from))
  const match = /^# exit code: (\d+)[\s\S]*?^----- stdout .*\n([\s\S]*?)^----- stderr .*\n([\s\S]*)$/m.exec(
    block,
  )
  if (match === null) throw new Error(`transcript ${number} cannot be read`)
  const [, code, stdout = '', stderr = ''] = match
  return { kind: 'exited', code: Number(code), stdout, stderr }
}

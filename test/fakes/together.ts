import type { CommandResult } from '../../src/core/ssh.js'

/** One of the scripts in the input of target/together.sh. */
export interface GivenSection {
  readonly title: string
  readonly text: string
  readonly stdin: string
}

/** Imitates target/together.sh: runs the scripts with `run`, one after the other, and prints the same output. */
export async function runTogether(
  values: Readonly<Record<string, string>>,
  stdin: string,
  run: (section: GivenSection) => Promise<CommandResult>,
  onLine: (line: string) => void,
): Promise<CommandResult> {
  const inputs = stdin.split('\n')
  let stdout = ''
  const print = (text: string) => {
    stdout += text
    for (const line of text.replace(/\n$/, '').split('\n')) onLine(line)
  }
  for (let number = 1; number <= Number(values.count); number += 1) {
    const { mark, [`title_${number}`]: title = '', [`text_${number}`]: text = '' } = values
    const given = inputs[number - 1] ?? '-'
    print(`${mark} begin ${number} ${title}\n`)
    const section = { title, text, stdin: given === '-' ? '' : Buffer.from(given, 'base64').toString() }
    const result = await run(section)
    if (result.kind !== 'exited') return { ...result, stdout, stderr: result.stderr }
    print(`${result.stdout}\n${mark} end ${number} ${result.code}\n${result.stderr}\n${mark} next\n`)
  }
  return { kind: 'exited', code: 0, stdout, stderr: '' }
}

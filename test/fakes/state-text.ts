import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Returns the complete state of a deployment: the text of its files, one after the other. */
export function stateTextIn(folder: string): string {
  const machines = readdirSync(join(folder, 'machines')).sort()
  const files = ['state.json', ...machines.map((name) => join('machines', name))]
  return files.map((name) => `${name}\n${readFileSync(join(folder, name), 'utf8')}`).join('')
}

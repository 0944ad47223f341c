import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Joins the texts of all files that the state of a deployment has. */
export function stateTextIn(folder: string): string {
  const machines = readdirSync(join(folder, 'machines')).sort()
  const files = ['state.json', ...machines.map((name) => join('machines', name))]
  return files.map((name) => `${name}\n${readFileSync(join(folder, name), 'utf8')}`).join('')
}

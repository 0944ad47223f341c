import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'

export interface Document {
  /** The path relative to the top of the checkout. */
  readonly path: string
  readonly text: string
}

/** Returns the documents for users. */
export function userDocuments(): Document[] {
  const top = packageRoot()
  const below = (folder: string) =>
    readdirSync(join(top, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name))
  return ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...below('docs'), ...below('examples')]
    .sort()
    .map((path) => ({ path, text: readFileSync(join(top, path), 'utf8') }))
}

export function readDocument(path: string): string {
  return readFileSync(join(packageRoot(), path), 'utf8')
}

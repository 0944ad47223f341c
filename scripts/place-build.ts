import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { z } from 'zod'

/** File with the chunk names of the last build. */
const list = 'chunks/list.json'
const Names = z.array(z.string())

const isChunk = (name: string) => dirname(name) === dirname(list)

/**
 * Puts a build into its folder, where a hydra-ops of the previous build may be running. The previous chunks
 * therefore stay until the next build. Chunk names carry a hash of the content. The other files, which a start loads
 * first, are written last. `files` holds contents by path relative to the folder.
 */
export function placeBuild(folder: string, files: ReadonlyMap<string, string | Uint8Array>): void {
  const names = [...files.keys()]
  const chunks = names.filter(isChunk)
  const before = chunksBefore(folder)
  for (const name of [...chunks, ...names.filter((each) => !isChunk(each))]) {
    replaceFile(join(folder, name), files.get(name) ?? '')
  }
  replaceFile(join(folder, list), `${JSON.stringify(chunks, undefined, 1)}\n`)
  removeOthers(folder, new Set([...names, ...before, list]))
}

function chunksBefore(folder: string): string[] {
  const file = join(folder, list)
  return existsSync(file) ? Names.parse(JSON.parse(readFileSync(file, 'utf8'))) : []
}

/** Replaces a file in one step, so that no process reads a partial file. */
function replaceFile(file: string, contents: string | Uint8Array): void {
  mkdirSync(dirname(file), { recursive: true })
  const draft = `${file}.${process.pid}.new`
  writeFileSync(draft, contents, { mode: isScript(contents) ? 0o755 : 0o644 })
  renameSync(draft, file)
}

function isScript(contents: string | Uint8Array): boolean {
  return Buffer.from(contents).subarray(0, 2).toString() === '#!'
}

function removeOthers(folder: string, wanted: ReadonlySet<string>): void {
  const kept = new Set([...wanted].flatMap(withFoldersAbove))
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!kept.has(name)) rmSync(join(folder, name), { recursive: true, force: true })
  }
}

function withFoldersAbove(name: string): string[] {
  const above = dirname(name)
  return above === '.' ? [name] : [name, ...withFoldersAbove(above)]
}

import type { Json } from './json.js'

/** Applies a function to every string in a JSON value; all other values stay unchanged. */
export function mapTexts(value: Json, change: (text: string) => string): Json
export function mapTexts(value: unknown, change: (text: string) => string): unknown
export function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((each: unknown) => mapTexts(each, change))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, mapTexts(each, change)]))
}

/** Lists every string in a JSON value. */
export function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsOf) : []
}

/** Moves a path from one folder to another; a path outside the first folder stays unchanged. */
export function movedPath(path: string, from: string, to: string): string {
  return path === from || path.startsWith(`${from}/`) ? `${to}${path.slice(from.length)}` : path
}

/**
 * Finds the state folder that contains a path of a deployment; returns undefined for a path outside any state
 * folder.
 */
export function stateFolderOf(path: string, deployment: string): string | undefined {
  const at = path.lastIndexOf(`/deployments/${deployment}/`)
  return at < 0 ? undefined : path.slice(0, at)
}

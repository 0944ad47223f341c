import { type BuilderReader, unreadableField } from '../../../core/builder-entries.js'
import type { Abilities } from '../../../core/builder-match.js'
import { none, valuesOf } from '../../../core/builder-offer.js'

/** A text with lines of builders: a file, or the setting `builders` itself. */
export interface ListText {
  /** Path of the file, or the name of the setting. */
  readonly place: string
  /** Absent if the file is missing or unreadable. */
  readonly text: string | undefined
  /** Whether the file is there, or may be there, and its reader has no right to it. */
  readonly unreadable?: boolean
}

/** One builder in a list, with the place of its line. */
export interface Entry extends Abilities {
  /** The line's place: `/etc/nix/machines:3`. */
  readonly at: string
  /** Path of the list, or the name of the setting. */
  readonly list: string
  /** The whole line, as Nix takes it in `--builders`. */
  readonly line: string
  readonly key: string | undefined
  readonly maxJobs: number
}

/** A line that ends the reading of its list. */
export interface ListFault {
  readonly at: string
  readonly line: string
  readonly problem: string
}

/** Reads every line of some lists. A line without systems is for the system of the machine that reads the list. */
export function entriesOf(lists: readonly ListText[], ownSystem: string): Entry[] {
  return lists.flatMap(({ place, text }) =>
    linesOf(text).map(({ line, number }): Entry => {
      const [name = '', systems = none, key = none, maxJobs = '1', , features = none, mandatory = none] =
        line.split(/\s+/)
      return {
        at: `${place}:${number}`,
        list: place,
        line,
        name,
        systems: systems === none ? [ownSystem] : valuesOf(systems),
        key: key === none ? undefined : key,
        maxJobs: maxJobs === none ? 1 : Number(maxJobs),
        supportedFeatures: valuesOf(features),
        mandatoryFeatures: valuesOf(mandatory),
      }
    }),
  )
}

/** Finds the first line that its reader cannot take in; then the reader has no builder at all. */
export function listFault(lists: readonly ListText[], reader: BuilderReader): ListFault | undefined {
  for (const { place, text } of lists)
    for (const { line, number } of linesOf(text)) {
      const problem = unreadableField(line.split(/\s+/), reader)
      if (problem !== undefined) return { at: `${place}:${number}`, line, problem }
    }
  return undefined
}

interface Line {
  readonly line: string
  readonly number: number
}

/** Splits a list into lines without comments; a semicolon ends a line of a setting, and `@` names another file. */
function linesOf(text: string | undefined): Line[] {
  return (text ?? '').split('\n').flatMap((raw, index) =>
    raw
      .replace(/#.*/, '')
      .split(';')
      .map((part) => part.trim())
      .filter((part) => part !== '' && !part.startsWith('@'))
      .map((line) => ({ line, number: index + 1 })),
  )
}

/** Shows a line without its eighth field, the host key, unless that field is empty. */
export function shownLine(line: string): string {
  const [, before = '', hostKey = none, after = ''] = /^((?:\S+\s+){7})(\S+)(.*)$/.exec(line) ?? []
  return hostKey === none ? line : `${before}…${after}`
}

/** Returns the address of a builder's store, as Nix completes a name without a scheme. */
export function uriOf(name: string): string {
  return /^[a-z0-9+-]+:\/\//.test(name) ? name : `ssh://${name}`
}

/** Says whether two names mean one builder; the settings in a URL do not count. */
export function isSameBuilder(one: string, other: string): boolean {
  const [a, b] = [one, other].map((name) => uriOf(name).replace(/\?.*/, ''))
  return a === b
}

/** Says whether a queue runner takes the builder for its own machine, without a login. */
export function isLocalhost({ name }: Pick<Entry, 'name'>): boolean {
  return /^(?:ssh:\/\/|ssh-ng:\/\/)?localhost$/.test(name)
}

/** Address of a builder, as given by its name in a list. */
export function addressOf(name: string): { readonly user: string | undefined; readonly host: string } {
  const [, user, host = ''] = /^(?:[a-z0-9+-]+:\/\/)?(?:([^@/]*)@)?([^/?:]*)/.exec(name) ?? []
  return { user, host }
}

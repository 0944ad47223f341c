import { type BuilderReader, unreadableField } from '../../../core/builder-entries.js'
import type { Abilities } from '../../../core/builder-match.js'
import { none, valuesOf } from '../../../core/builder-offer.js'

/** A text with lines of builders: a file, or the setting `builders` itself. */
export interface ListText {
  /** Path of the file, or the name of the setting. */
  readonly place: string
  /** Absent if the file is missing or unreadable. */
  readonly text: string | undefined
  /** Whether the file exists, or may exist, but its reader has no permission to read it. */
  readonly unreadable?: boolean
}

/**
 * Program that reads a list. A Nix before 2.28 (and Lix) ends a line at a semicolon within a comment. It rejects a
 * line of blanks, and reads no file whose name follows a blank (seen with Nix 2.8).
 */
export type ListReader = BuilderReader | 'early daemon'

/** Returns how a Nix reads lists, from the output of `nix --version`. */
export function nixReader(version: string): ListReader {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(version) ?? []
  const isEarly = Number(major) < 2 || (Number(major) === 2 && Number(minor) < 28)
  return isEarly || version.includes('Lix') ? 'early daemon' : 'daemon'
}

/** One builder in a list, with the place of its line. */
export interface Entry extends Abilities {
  /** The line's place: `/etc/nix/machines:3`. */
  readonly at: string
  /** Path of the list, or the name of the setting. */
  readonly list: string
  /** The whole line, as Nix accepts it in `--builders`. */
  readonly line: string
  readonly key: string | undefined
  readonly maxJobs: number
}

/** A faulty line, which ends the reading of its list. */
export interface ListFault {
  readonly at: string
  readonly line: string
  readonly problem: string
}

/** Reads every line of some lists. A line without systems is for the system of the machine that reads the list. */
export function entriesOf(lists: readonly ListText[], reader: ListReader, ownSystem: string): Entry[] {
  return lists.flatMap(({ place, text }) =>
    linesOf(text, reader).map(({ line, number }): Entry => {
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

/** Finds the first line that its reader cannot parse; the reader then has no builders. */
export function listFault(lists: readonly ListText[], reader: ListReader): ListFault | undefined {
  for (const { place, text } of lists)
    for (const { line, number } of linesOf(text, reader)) {
      const problem =
        line === ''
          ? 'the line has only blanks before its end or comment'
          : unreadableField(line.split(/\s+/), reader === 'queue runner' ? reader : 'daemon')
      if (problem !== undefined) return { at: `${place}:${number}`, line, problem }
    }
  return undefined
}

interface Line {
  readonly line: string
  readonly number: number
}

/**
 * Splits a list into lines, without comments and names of files. Empty lines remain for an early Nix, which rejects
 * them.
 */
function linesOf(text: string | undefined, reader: ListReader): Line[] {
  return (text ?? '').split('\n').flatMap((raw, index) =>
    partsOf(raw, reader)
      .filter((part) => (reader === 'early daemon' ? part !== '' : part.trim() !== ''))
      .map((part) => part.trim())
      .filter((line) => !line.startsWith('@'))
      .map((line) => ({ line, number: index + 1 })),
  )
}

/** Splits one line of a text as its reader does. A queue runner does not split at semicolons. */
function partsOf(raw: string, reader: ListReader): string[] {
  const withoutComment = (part: string) => part.replace(/#.*/, '')
  if (reader === 'queue runner') return [withoutComment(raw)]
  if (reader === 'daemon') return withoutComment(raw).split(';')
  return raw.split(';').map(withoutComment)
}

/** Returns the files that a setting names: files that its reader reads, and files that an early Nix skips. */
export function filesIn(
  setting: string,
  reader: ListReader,
): { readonly read: readonly string[]; readonly passedOver: readonly string[] } {
  const parts = setting.split('\n').flatMap((raw) => partsOf(raw, reader))
  const named = (form: RegExp) => parts.flatMap((part) => form.exec(part)?.[1] ?? [])
  return reader === 'early daemon'
    ? { read: named(/^@\s*(\S+)/), passedOver: named(/^\s+@\s*(\S+)/) }
    : { read: named(/^\s*@\s*(\S+)/), passedOver: [] }
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

/** Says whether two names mean the same builder; the settings in a URL do not count. */
export function isSameBuilder(one: string, other: string): boolean {
  const [a, b] = [one, other].map((name) => uriOf(name).replace(/\?.*/, ''))
  return a === b
}

/** Says whether a queue runner treats the builder as its own machine, without a login. */
export function isLocalhost({ name }: Pick<Entry, 'name'>): boolean {
  return /^(?:ssh:\/\/|ssh-ng:\/\/)?localhost$/.test(name)
}

/** Address of a builder, as given by its name in a list. */
export function addressOf(name: string): { readonly user: string | undefined; readonly host: string } {
  const [, user, host = ''] = /^(?:[a-z0-9+-]+:\/\/)?(?:([^@/]*)@)?([^/?:]*)/.exec(name) ?? []
  return { user, host }
}

import type { Json } from '../../src/core/json.js'
import type { Recording } from './recordings.js'

/** The compared parts of a program's answer. */
export interface Answer {
  readonly status: number
  readonly contentType: string
  readonly location: string
  readonly body: string
}

/** The start of the recording, in Unix time. Later times differ in every run; rows written by hand are older. */
const recordedSince = 1_710_000_000

/** Returns the differences between the answer and the recording; empty when they agree. */
export function differences({ name, request, response }: Recording, answer: Answer): string[] {
  const expected = {
    status: response.status,
    contentType: (response.headers['Content-Type'] ?? '').toLowerCase(),
    location: response.headers.Location ?? '',
  }
  const seen = {
    status: answer.status,
    contentType: answer.contentType.toLowerCase(),
    location: answer.location,
  }
  const told = Object.entries(expected).flatMap(([key, value]) => {
    const got = Object.entries(seen).find(([other]) => other === key)?.[1]
    return got === value
      ? []
      : [`${name}: ${key} is ${JSON.stringify(got)}, recorded ${JSON.stringify(value)}`]
  })
  const wanted = comparable(response.body, request.path, expected.contentType)
  const got = comparable(answer.body, request.path, expected.contentType)
  return wanted === got ? told : [...told, `${name}: body is\n  ${got}\nrecorded\n  ${wanted}`]
}

/** Returns a body as one text: parsed and ordered, without the parts that differ in every run. */
function comparable(body: Json, path: string, contentType: string): string {
  const value = typeof body === 'string' ? parsed(body, contentType) : body
  if (typeof value === 'string') return comparableText(value)
  return JSON.stringify(normalised(value, '', path))
}

/** Reduces a page to its title, and a redirect's page to a fixed text, because the Location header is compared. */
function comparableText(text: string): string {
  if (text.includes('This item has moved')) return '<a page that leads elsewhere>'
  const title = /<title>([\s\S]*?)<\/title>/.exec(text)?.[1]
  if (title !== undefined) return `<a page: ${title.trim()}>`
  // The text after `***ERROR***` is from Perl's parser, so it is not compared.
  return (
    withoutPlaces(text)
      .replace(/(\*\*\*ERROR\*\*\*\r\n)[\s\S]*/, '$1')
      .replace(/^Sig: ([^:\n]+):.*$/m, 'Sig: $1:<signature>')
      // The recorded store had another path, so the hashes and sizes of archives differ.
      .replace(/^NarHash: sha256:[0-9a-z]{52}$/m, 'NarHash: sha256:<hash>')
      .replace(/^NarSize: \d+$/m, 'NarSize: <size>')
      .replace(/^(URL: nar\/[0-9a-z]{32})-[0-9a-z]{52}\.nar$/m, '$1-<hash>.nar')
  )
}

function parsed(text: string, contentType: string): Json {
  if (!contentType.startsWith('application/json')) return text
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function normalised(value: Json, key: string, path: string): Json {
  if (typeof value === 'number' && /time(?:stamp)?$/.test(key) && value > recordedSince)
    return '<a moment of the recording>'
  if (typeof value === 'string') return withoutPlaces(value)
  if (Array.isArray(value)) {
    const members = value.map((each) => normalised(each, key, path))
    return isUnordered(key, path)
      ? members.sort((a, b) => compare(JSON.stringify(a), JSON.stringify(b)))
      : members
  }
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => compare(a, b))
      .map(([name, each]) => [name, normalised(each, name, path)]),
  )
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)

/** Tells whether Hydra queries a list without an order; other lists must have the recorded order. */
function isUnordered(key: string, path: string): boolean {
  if (['jobsetevals', 'builds', 'buildsdrv', 'changedInputs'].includes(key)) return true
  return (
    key === '' &&
    /^\/(?:eval\/\d+\/(?:builds|store-paths)|build\/\d+\/constituents|queue|status|api\/jobsets)\b/.test(path)
  )
}

/** Removes Perl's file and line from errors, and the statement from errors of the database. */
function withoutPlaces(text: string): string {
  return text
    .replace(/(DBD::Pg::st execute failed: ERROR:[^\n]*)[\s\S]*/, '$1')
    .replace(/ at \S+ line \d+(?:, <[^>]*> line \d+)?\.?/g, '')
    .replace(
      /valid types: .*/,
      (list) => `valid types: ${[...list.matchAll(/‘([^’]+)’/g)].map(([, each]) => each).sort()}`,
    )
    .trimEnd()
}

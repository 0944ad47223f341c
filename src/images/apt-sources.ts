import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Returns the package sources of an image: lines of a `sources.list`, or undefined for mmdebstrap's default. */
export function aptSources(
  suite: string,
  env: Readonly<Record<string, string | undefined>>,
  etcApt = '/etc/apt',
): string | undefined {
  const mirror = env.DEBIAN_MIRROR
  if (mirror !== undefined && mirror !== '') return `deb ${mirror} ${suite} main\n`
  const lines = hostSources(etcApt).filter((source) => isOf(source, suite))
  return lines.some((source) => source.suite === suite) ? lines.map(toLine).join('') : undefined
}

interface Source {
  readonly uri: string
  readonly suite: string
  readonly components: readonly string[]
  readonly signedBy: string | undefined
}

/** Tells whether a source provides the component `main` of the release, its updates or its security updates. */
function isOf(source: Source, suite: string): boolean {
  return (
    [suite, `${suite}-updates`, `${suite}-security`].includes(source.suite) &&
    source.components.includes('main')
  )
}

function toLine(source: Source): string {
  const options = source.signedBy === undefined ? '' : `[signed-by=${source.signedBy}] `
  return `deb ${options}${source.uri} ${source.suite} main\n`
}

function hostSources(etcApt: string): Source[] {
  const parts = namesIn(join(etcApt, 'sources.list.d')).map((name) => join(etcApt, 'sources.list.d', name))
  return [join(etcApt, 'sources.list'), ...parts].flatMap((file) => {
    const text = readText(file)
    return file.endsWith('.sources') ? stanzas(text) : file.endsWith('.list') ? oneLiners(text) : []
  })
}

/** Parses lines of the form `deb [signed-by=…] URI SUITE COMPONENT…` (sources.list(5)). */
function oneLiners(text: string): Source[] {
  return text.split('\n').flatMap((line) => {
    const match = /^\s*deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s+([^#]+)/.exec(line)
    if (match === null) return []
    const [, options = '', uri = '', suite = '', components = ''] = match
    const signedBy = /(?:^|\s)signed-by=(\S+)/.exec(options)?.[1]
    return [{ uri, suite, components: words(components), signedBy }]
  })
}

/** Parses paragraphs in deb822 style: `Types: URIs: Suites: Components: Signed-By:`. */
function stanzas(text: string): Source[] {
  return text
    .split('\n')
    .filter((line) => !line.startsWith('#'))
    .join('\n')
    .split(/\n\s*\n/)
    .flatMap((paragraph) => {
      const field = (name: string) =>
        new RegExp(`^${name}:[ \\t]*(.*(?:\\n[ \\t].*)*)`, 'im').exec(paragraph)?.[1]?.trim() ?? ''
      if (!words(field('Types')).includes('deb') || field('Enabled').toLowerCase() === 'no') return []
      const signedBy = field('Signed-By')
      return words(field('URIs')).flatMap((uri) =>
        words(field('Suites')).map((suite) => ({
          uri,
          suite,
          components: words(field('Components')),
          // The field may contain the key itself instead of a file; apt then finds Debian's key without it.
          signedBy: /^\/\S+$/.test(signedBy) ? signedBy : undefined,
        })),
      )
    })
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== '')
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort()
  } catch {
    return []
  }
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

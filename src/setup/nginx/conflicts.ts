import { failure } from '../../core/errors.js'
import { targetFile } from '../../core/target-file.js'
import { type Facts, fact } from '../../remote/run-script.js'
import { cacheNames, type SiteSettings, sitePorts } from './site-text.js'

/** The names that users ask for. `localhost` is ours only beside them: other sites may have it too. */
export function contestedNames(settings: SiteSettings): string[] {
  return [...askedNames(settings), ...cacheNames(settings)]
}

/** Lists the names under which users ask for Hydra itself, in small letters as nginx compares them. */
export function askedNames({ options, hostName, url }: SiteSettings): string[] {
  const { nginx } = options
  const opened = new URL(url).hostname
  const names = [nginx.hostName ?? hostName, ...nginx.serverAliases, opened].map((name) => name.toLowerCase())
  return [...new Set(names)].filter((name) => name !== 'localhost' || opened === 'localhost')
}

/** The values of the shell's function `conflicts` (target/tasks/nginx/lib.sh). */
export function conflictValues(settings: SiteSettings) {
  return {
    ports: sitePorts(settings).map(String),
    names: contestedNames(settings),
    conflicts_program: targetFile('tasks/nginx/conflicts.awk'),
  }
}

/** What other sites of nginx take from ours, as the shell's function `conflicts` tells it. */
export interface OtherSites {
  /** The words with which nginx refuses its configuration; '' = it takes the configuration. */
  readonly refused: string
  readonly names: readonly string[]
  readonly addresses: readonly string[]
  /** Addresses by which the machine is not reached by default. */
  readonly elsewhere: readonly string[]
}

export function otherSites(facts: Facts): OtherSites {
  const of = (key: string) => facts.get(key) ?? []
  return {
    refused: fact(facts, 'refused'),
    names: of('conflict'),
    addresses: of('address'),
    elsewhere: of('elsewhere'),
  }
}

/** Says that nginx goes on with what it has read, and with what words it refuses what it would read next. */
export function refusedText(words: string): string {
  return `nginx refuses its configuration, and would not start again: ${words}`
}

/** The error of a configuration that nginx refuses. */
export function refusedFailure(machine: string, words: string): Error {
  return failure('NGINX', `machine '${machine}': ${refusedText(words)}`, {
    machine,
    hint: 'nginx -t on the machine says what is wrong; mend it, then deploy again',
  })
}

/** Says who else has our name: `NAME FILE`, a line each. */
export function conflictText(lines: readonly string[]): string {
  const found = pairs(lines).map(([name, file]) => `${file} (${name})`)
  return `another site of nginx has the same server_name: ${found.join(', ')}`
}

/** Says at which addresses requests never come to our site: `ADDRESS:PORT FILE`, a line each. */
export function addressText(lines: readonly string[]): string {
  return pairs(lines)
    .map(([address, file]) => `requests to ${address} reach only another site of nginx: ${file}`)
    .join('; ')
}

function pairs(lines: readonly string[]): (readonly [string, string])[] {
  return lines.map((line) => {
    const at = line.indexOf(' ')
    return [line.slice(0, at), line.slice(at + 1)]
  })
}

/** The error, which leaves the choice between both sites to the user. */
export function conflictFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${conflictText(lines)}`, {
    machine,
    hint: 'nginx asks only one of them: take the name out of that file, or give Hydra another one (deployment.hydra.nginx)',
  })
}

/** The error of a site that has the address of the machine for itself. */
export function addressFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${addressText(lines)}`, {
    machine,
    hint: 'write the port alone into that file, such as "listen 80;": then nginx chooses between both sites by their names',
  })
}

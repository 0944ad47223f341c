import { failure } from '../../core/errors.js'
import { targetFile } from '../../core/target-file.js'
import { type Facts, fact } from '../../remote/run-script.js'
import { cacheNames, type SiteSettings, sitePorts } from './site-text.js'

/**
 * Lists the names under which users open the site. `localhost` counts only if the URL has it, because other sites may
 * have it too.
 */
export function contestedNames(settings: SiteSettings): string[] {
  return [...askedNames(settings), ...cacheNames(settings)]
}

/** Lists the names under which users open Hydra itself, in lower case as nginx compares them. */
export function askedNames({ options, hostName, url }: SiteSettings): string[] {
  const { nginx } = options
  const opened = new URL(url).hostname
  const names = [nginx.hostName ?? hostName, ...nginx.serverAliases, opened].map((name) => name.toLowerCase())
  return [...new Set(names)].filter((name) => name !== 'localhost' || opened === 'localhost')
}

/** Returns the values for the shell function `conflicts` (target/tasks/nginx/lib.sh). */
export function conflictValues(settings: SiteSettings) {
  return {
    ports: sitePorts(settings).map(String),
    names: contestedNames(settings),
    conflicts_program: targetFile('tasks/nginx/conflicts.awk'),
  }
}

/** Conflicts with other nginx sites, from the shell function `conflicts`. */
export interface OtherSites {
  /** Message with which nginx rejects its configuration; '' if nginx accepts its configuration. */
  readonly refused: string
  readonly names: readonly string[]
  readonly addresses: readonly string[]
  /** Conflicts at addresses other than the machine's main address. */
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

/** Reports that nginx rejects its configuration, with nginx's own message. */
export function refusedText(words: string): string {
  return `nginx rejects its configuration, and cannot restart: ${words}`
}

/** Builds the error for a configuration that nginx rejects. */
export function refusedFailure(machine: string, words: string): Error {
  return failure('NGINX', `machine '${machine}': ${refusedText(words)}`, {
    machine,
    hint: 'nginx -t on the machine shows the error; correct it, then deploy again',
  })
}

/** Names the other sites that share a name with Hydra's site, from lines `NAME FILE`. */
export function conflictText(lines: readonly string[]): string {
  const found = pairs(lines).map(([name, file]) => `${file} (${name})`)
  return `another site of nginx has the same server_name: ${found.join(', ')}`
}

/** Names the addresses whose requests never reach Hydra's site, from lines `ADDRESS:PORT FILE`. */
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

/** Builds the error that leaves the choice between both sites to the user. */
export function conflictFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${conflictText(lines)}`, {
    machine,
    hint: 'nginx uses only one of the two sites: remove the name from that file, or give Hydra another name (deployment.hydra.nginx)',
  })
}

/** Builds the error for another site that takes all requests to an address of the machine. */
export function addressFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${addressText(lines)}`, {
    machine,
    hint: 'write only the port into that file, such as "listen 80;", so that nginx selects the site by its name',
  })
}

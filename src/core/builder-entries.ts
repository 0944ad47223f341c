import { type BuilderOffer, fieldOf, none, useTask, valuesOf } from './builder-offer.js'
import type { MachineName } from './names.js'
import type { Host } from './ssh.js'

/** A builder as another machine uses the builder. */
export interface UsedBuilder extends BuilderOffer {
  /** Name of the builder in the deployment. */
  readonly machine: MachineName
  /** The pinned host key, `ssh-ed25519 AAAA…`. */
  readonly hostKey: string
}

/** A place from which builds on a builder are tried. */
export interface ProofPlace {
  readonly shell: Pick<Host, 'machine' | 'script'>
  /** `daemon`, or `own` for a store of the user's own. */
  readonly through: 'daemon' | 'own'
  /** User who builds; empty means the one who logged in. */
  readonly runAs: string
  /** File that has the line of the builder, and the name of the builder there. */
  readonly list: string
  readonly name: string
  /** Key of the logins, and its user for messages. */
  readonly key: { readonly file: string; readonly user: string }
  /** Configuration of ssh for the logins; empty means the usual one. */
  readonly sshConfig: string
}

/** Program that reads a list of builders; each takes another form of their names. */
export type BuilderReader = 'queue runner' | 'daemon'

/** Returns the name by which a queue runner or a daemon knows the builder. */
export function builderName(
  { user, host }: Pick<BuilderOffer, 'user' | 'host'>,
  reader: BuilderReader,
): string {
  return reader === 'daemon' ? `ssh://${user}@${host}` : `${user}@${host}`
}

/**
 * Writes the line of one builder. `maxJobs` 0 keeps new builds from a drained builder. Its line stays,
 * because a queue runner aborts steps that no line covers (measured).
 */
export function builderLine(
  builder: Omit<UsedBuilder, 'machine'>,
  {
    reader,
    keyFile,
    drained,
    name = builderName(builder, reader),
    pinned = true,
  }: {
    readonly reader: BuilderReader
    readonly keyFile: string
    readonly drained: boolean
    readonly name?: string
    /** Whether the line holds the host key; a known_hosts file of ssh may hold the key instead. */
    readonly pinned?: boolean
  },
): string {
  const { mandatoryFeatures } = builder
  return [
    name,
    fieldOf(builder.systems),
    keyFile,
    drained ? '0' : String(builder.maxJobs),
    String(builder.speedFactor),
    fieldOf([...builder.supportedFeatures, ...mandatoryFeatures]),
    fieldOf(mandatoryFeatures),
    // Nix takes the whole content of a public key file, in base64.
    pinned ? Buffer.from(`${builder.hostKey}\n`).toString('base64') : none,
  ].join(' ')
}

/** Writes the first line of a list. A semicolon ends a line for Nix, also in a comment (seen). */
function header(task: string): string {
  return `# Written by hydra-ops (set-up task "${task}"). Changes made here are overwritten.`
}

/** Writes a whole list of builders, in the order of their names. */
export function builderList(lines: readonly string[]): string {
  return [header(useTask), ...lines].map((line) => `${line}\n`).join('')
}

/**
 * Joins values of Nix' setting `builders`, such as `@FILE`. Nix 2.8 takes a file after a space for a builder of that
 * name, and never reads the file (seen).
 */
export function buildersSetting(...values: readonly string[]): string {
  const parts = values.flatMap((value) => value.split(/[;\n]/)).map((part) => part.trim())
  return parts.filter((part) => part !== '').join(';')
}

/**
 * Finds the first fault of a machines file; returns `undefined` if the file is sound. One wrong line makes a queue
 * runner forget every machine, and abort every queued build (measured).
 */
export function listProblem(text: string): string | undefined {
  const seen = new Set<string>()
  for (const [index, raw] of text.split('\n').entries()) {
    const line = raw.replace(/#.*/, '').trim()
    if (line === '') continue
    const problem = lineProblem(line.split(/\s+/), seen)
    if (problem !== undefined) return `line ${index + 1}: ${problem}`
  }
  return undefined
}

function lineProblem(fields: readonly string[], seen: Set<string>): string | undefined {
  const [name = '', systems, key, , , features, mandatory, hostKey, ...rest] = fields
  if (rest.length > 0) return `${fields.length} fields, and a builder has at most 8`
  if (seen.has(name)) return `${name} is there twice`
  seen.add(name)
  if (systems === undefined || systems.split(',').includes('')) return 'the list of systems is wrong'
  if (key !== undefined && key !== none && !key.startsWith('/'))
    return `the key ${key} is not an absolute path`
  const unreadable = unreadableField(fields, 'queue runner')
  if (unreadable !== undefined) return unreadable
  const offered = valuesOf(features ?? none)
  const missing = valuesOf(mandatory ?? none).find((feature) => !offered.includes(feature))
  if (missing !== undefined) return `the mandatory feature ${missing} is not among the features`
  if (hostKey === undefined || hostKey === none) return undefined
  const decoded = Buffer.from(hostKey, 'base64')
  if (decoded.toString('base64') !== hostKey) return notBase64
  return isPublicKey(decoded.toString()) ? undefined : 'the host key is not a public key of ssh'
}

const notBase64 = 'the host key is not in base64'

/** Finds a field that ends the reading of the whole list. A daemon takes a hyphen for a number, a queue runner does not. */
export function unreadableField(fields: readonly string[], reader: BuilderReader): string | undefined {
  const absent = reader === 'daemon' ? [undefined, none] : [undefined]
  const [, , , maxJobs, speed, , , hostKey = none] = fields
  if (!absent.includes(maxJobs) && !/^\d+$/.test(maxJobs ?? '')) return `maxJobs is ${maxJobs}, and no number`
  if (!absent.includes(speed) && !/^\d+(?:\.\d+)?$/.test(speed ?? ''))
    return `the speed factor is ${speed}, and no number`
  return hostKey === none || /^[A-Za-z0-9+/]+=*$/.test(hostKey) ? undefined : notBase64
}

/** Says whether a text is a whole public key: its name, and fields that each begin with their length. */
function isPublicKey(text: string): boolean {
  const [, name = '', coded = ''] = /^(\S+) ([A-Za-z0-9+/]+=*)(?: [^\n]*)?\n?$/.exec(text) ?? []
  const blob = Buffer.from(coded, 'base64')
  const fields: Buffer[] = []
  let at = 0
  while (at + 4 <= blob.length) {
    const end = at + 4 + blob.readUInt32BE(at)
    fields.push(blob.subarray(at + 4, end))
    at = end
  }
  return fields.length > 1 && at === blob.length && fields[0]?.toString() === name
}

/**
 * Writes the settings of ssh for logins to builders. Keepalive ends a step whose builder freezes; the step would
 * otherwise run for hours. Other logins to the same hosts keep their own settings.
 */
export function sshSettings(
  logins: readonly (Pick<UsedBuilder, 'user' | 'host' | 'port'> & {
    /** Seconds for a connection; ssh itself waits for minutes. */
    readonly connectTimeout?: number
  })[],
  task: string,
): string {
  const blocks = logins.map(({ user, host, port, connectTimeout }) =>
    [
      `Match originalhost ${host} user ${user}`,
      ...(connectTimeout === undefined ? [] : [`  ConnectTimeout ${connectTimeout}`]),
      '  ServerAliveInterval 15',
      '  ServerAliveCountMax 4',
      // The pinned key has the bare name, and ssh would otherwise look for a name with the port.
      ...(port === 22 ? [] : [`  Port ${port}`, `  HostKeyAlias ${host}`]),
    ].join('\n'),
  )
  return [header(task), ...blocks].map((block) => `${block}\n`).join('')
}

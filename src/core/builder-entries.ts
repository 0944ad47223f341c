import { type BuilderOffer, fieldOf, none, useTask, valuesOf } from './builder-offer.js'
import type { MachineName } from './names.js'
import type { Host } from './ssh.js'

/** A builder as another machine uses it. */
export interface UsedBuilder extends BuilderOffer {
  /** Name of the builder in the deployment. */
  readonly machine: MachineName
  /** The pinned host key, `ssh-ed25519 AAAA…`. */
  readonly hostKey: string
}

/** A place from which hydra-ops tests builds on a builder. */
export interface ProofPlace {
  readonly shell: Pick<Host, 'machine' | 'script'>
  /** `daemon` for the daemon's store, or `own` for a store that belongs to the user. */
  readonly through: 'daemon' | 'own'
  /** User who runs the build; empty for the user of the shell. */
  readonly runAs: string
  /** File that contains the builder's line, and the builder's name in that file. */
  readonly list: string
  readonly name: string
  /** Key file for the logins, and the key's user for messages. */
  readonly key: { readonly file: string; readonly user: string }
  /** ssh configuration file for the logins; empty for the default configuration. */
  readonly sshConfig: string
}

/** Program that reads a list of builders. Each program expects the builders' names in its own form. */
export type BuilderReader = 'queue runner' | 'daemon'

/** Returns the builder's name in the lists of a queue runner or a daemon. */
export function builderName(
  { user, host }: Pick<BuilderOffer, 'user' | 'host'>,
  reader: BuilderReader,
): string {
  return reader === 'daemon' ? `ssh://${user}@${host}` : `${user}@${host}`
}

/**
 * Writes the line of one builder. `maxJobs` 0 keeps new builds away from a drained builder. Its line stays, because
 * a queue runner aborts steps that no line covers (measured).
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
    /** Whether the line contains the host key. ssh's known_hosts file may contain the key instead. */
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
    // Nix expects the whole content of a public key file, in base64.
    pinned ? Buffer.from(`${builder.hostKey}\n`).toString('base64') : none,
  ].join(' ')
}

/**
 * Writes the first line of a list, without semicolons. Nix ends a line at a semicolon, even within a comment (seen).
 */
function header(task: string): string {
  return `# Written by hydra-ops (set-up task "${task}"). Changes made here are overwritten.`
}

/** Writes a whole list of builders: the header and the given lines. */
export function builderList(lines: readonly string[]): string {
  return [header(useTask), ...lines].map((line) => `${line}\n`).join('')
}

/**
 * Joins values of Nix's setting `builders`, such as `@FILE`. Nix 2.8 treats a file after a space as a builder of
 * that name, and never reads the file (seen).
 */
export function buildersSetting(...values: readonly string[]): string {
  const parts = values.flatMap((value) => value.split(/[;\n]/)).map((part) => part.trim())
  return parts.filter((part) => part !== '').join(';')
}

/**
 * Finds the first fault in a machines file; returns `undefined` if the file is valid. A single wrong line makes a
 * queue runner forget every machine and abort every queued build (measured).
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
  if (rest.length > 0) return `${fields.length} fields, but a builder has at most 8`
  if (seen.has(name)) return `${name} is listed twice`
  seen.add(name)
  if (systems === undefined || systems.split(',').includes('')) return 'the name of a system is missing'
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

/**
 * Finds a field that makes the whole list unreadable. A daemon accepts a hyphen in place of a number; a queue runner
 * does not.
 */
export function unreadableField(fields: readonly string[], reader: BuilderReader): string | undefined {
  const absent = reader === 'daemon' ? [undefined, none] : [undefined]
  const [, , , maxJobs, speed, , , hostKey = none] = fields
  if (!absent.includes(maxJobs) && !/^\d+$/.test(maxJobs ?? '')) return `maxJobs is ${maxJobs}, not a number`
  if (!absent.includes(speed) && !/^\d+(?:\.\d+)?$/.test(speed ?? ''))
    return `the speed factor is ${speed}, not a number`
  return hostKey === none || /^[A-Za-z0-9+/]+=*$/.test(hostKey) ? undefined : notBase64
}

/** Tells whether a text is a whole public key: its name, and fields that each begin with their length. */
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
 * Writes the ssh settings for logins to builders. Keepalives end a step whose builder freezes; the step would
 * otherwise run for hours. Other logins to the same hosts keep their own settings.
 */
export function sshSettings(
  logins: readonly (Pick<UsedBuilder, 'user' | 'host' | 'port'> & {
    /** Connection timeout in seconds; ssh itself would wait for minutes. */
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
      // known_hosts lists the pinned key under the bare host name. ssh would otherwise look for the name with the
      // port.
      ...(port === 22 ? [] : [`  Port ${port}`, `  HostKeyAlias ${host}`]),
    ].join('\n'),
  )
  return [header(task), ...blocks].map((block) => `${block}\n`).join('')
}

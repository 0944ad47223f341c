import type { Forward } from '../common/ports.js'

/** Facts that are read back from a machine in VirtualBox. */
export interface MachineFacts {
  readonly name: string
  readonly uuid: string
  /** Path of the settings file. */
  readonly settings: string
  readonly logFolder: string
  /** VirtualBox's own word for the state: `running`, `poweroff`, `saved` … */
  readonly state: string
  /** Whether a process holds the machine's lock. */
  readonly locked: boolean
  readonly memoryMiB: number
  readonly vcpu: number
  readonly firmware: string
  /** Kind and network of each interface, by its number: `nat`, `hostonly vboxnet0`, `intnet NAME`. */
  readonly nics: ReadonlyMap<number, string>
  readonly rules: readonly NatRule[]
  /** Number of ports by controller name. */
  readonly controllers: ReadonlyMap<string, number>
  /** Paths of attached disks by slot, such as `SATA-0-0`. */
  readonly attached: ReadonlyMap<string, string>
  /** Mode of the first serial port, such as `file,/path`. */
  readonly serial: string | undefined
  readonly sharedFolders: ReadonlyMap<string, string>
  readonly hasSnapshots: boolean
}

/** A NAT rule that forwards a port of this host to the guest. */
export interface NatRule extends Forward {
  readonly name: string
  readonly protocol: string
  readonly hostIp: string
}

/** Parses the output of `showvminfo --machinereadable`. */
export function parseMachine(text: string): MachineFacts {
  const values = parseMachineReadable(text)
  const value = (key: string) => values.get(key) ?? ''
  return {
    name: value('name'),
    uuid: value('UUID'),
    settings: value('CfgFile'),
    logFolder: value('LogFldr'),
    state: value('VMState').toLowerCase() || 'unknown',
    locked: values.has('SessionName'),
    memoryMiB: Number(value('memory')),
    vcpu: Number(value('cpus')),
    firmware: value('firmware').toLowerCase(),
    nics: nicsOf(values),
    rules: rulesOf(values),
    controllers: controllersOf(values),
    attached: attachedOf(values),
    serial: values.get('uartmode1'),
    sharedFolders: sharedFoldersOf(values),
    hasSnapshots: values.has('SnapshotUUID'),
  }
}

/**
 * Parses lines such as `key=value`. A quoted value may span lines and contain `\"` and `\\`; keys may be quoted too.
 * A line without `=` is ignored.
 */
export function parseMachineReadable(text: string): Map<string, string> {
  const values = new Map<string, string>()
  let at = 0
  while (at < text.length) {
    const line = lineAt(text, at)
    const entry = /^("(?:[^"\\]|\\.)*"|[^"=][^=]*)=/.exec(line)
    if (entry === null) {
      at += line.length + 1
      continue
    }
    const [start, key = ''] = entry
    const from = at + start.length
    const quoted = unescapedKey.test(key) ? lineValue(line, start.length, at) : quotedAt(text, from)
    const name = key.startsWith('"') ? unescaped(key.slice(1, -1)) : key
    // The first value of a key counts, so that text in a multi-line description cannot replace it.
    if (!values.has(name)) values.set(name, quoted?.value ?? line.slice(start.length))
    const end = quoted?.end ?? from
    at = end + lineAt(text, end).length + 1
  }
  return values
}

/** Keys whose values VirtualBox does not escape; such a value ends at the end of its line. */
const unescapedKey = /^(?:Current)?Snapshot(?:Name|Description)/

function lineValue(line: string, from: number, at: number): { value: string; end: number } {
  return { value: line.slice(from).replace(/^"|"$/g, ''), end: at + line.length }
}

function lineAt(text: string, at: number): string {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.slice(at) : text.slice(at, end)
}

/** Reads a quoted value; returns undefined if the value has no quotes or no closing quote. */
function quotedAt(text: string, from: number): { value: string; end: number } | undefined {
  if (text[from] !== '"') return undefined
  for (let at = from + 1; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1
    else if (text[at] === '"') return { value: unescaped(text.slice(from + 1, at)), end: at + 1 }
  }
  return undefined
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(["\\])/g, '$1')
}

function matching(values: ReadonlyMap<string, string>, pattern: RegExp): [match: string[], value: string][] {
  return [...values].flatMap(([key, value]) => {
    const match = pattern.exec(key)
    return match === null ? [] : [[[...match], value]]
  })
}

function nicsOf(values: ReadonlyMap<string, string>): Map<number, string> {
  const nics = matching(values, /^nic(\d+)$/).filter(([, kind]) => kind !== 'none')
  return new Map(
    nics.map(([[, number = ''], kind]) => {
      const source = values.get(`hostonlyadapter${number}`) ?? values.get(`intnet${number}`)
      return [Number(number), source === undefined ? kind : `${kind} ${source}`]
    }),
  )
}

/**
 * Parses rules such as `name,tcp,127.0.0.1,2222,,22`. The rules' numbers have no meaning, because VirtualBox sorts
 * the rules by name.
 */
function rulesOf(values: ReadonlyMap<string, string>): NatRule[] {
  return matching(values, /^Forwarding\(\d+\)$/).flatMap(([, value]) => {
    const [, name, protocol, hostIp, host, guest] =
      /^(.*),(\w+),([^,]*),(\d+),[^,]*,(\d+)$/s.exec(value) ?? []
    if (name === undefined || protocol === undefined || hostIp === undefined) return []
    return [{ name, protocol, hostIp, host: Number(host), guest: Number(guest) }]
  })
}

function controllersOf(values: ReadonlyMap<string, string>): Map<string, number> {
  return new Map(
    matching(values, /^storagecontrollername(\d+)$/).map(([[, number = ''], name]) => [
      name,
      Number(values.get(`storagecontrollerportcount${number}`)),
    ]),
  )
}

/**
 * Returns the paths of attached disks by slot, such as `SATA-0-0`. Other keys of a slot, such as
 * `SATA-ImageUUID-0-0`, hold no path.
 */
function attachedOf(values: ReadonlyMap<string, string>): Map<string, string> {
  return new Map([...values].filter(([key, path]) => /-\d+-\d+$/.test(key) && path.startsWith('/')))
}

function sharedFoldersOf(values: ReadonlyMap<string, string>): Map<string, string> {
  return new Map(
    matching(values, /^SharedFolderNameMachineMapping(\d+)$/).map(([[, number = ''], name]) => [
      name,
      values.get(`SharedFolderPathMachineMapping${number}`) ?? '',
    ]),
  )
}

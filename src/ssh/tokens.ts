import { createHash } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { isAbsolute, join } from 'node:path'

/** Where the user's ssh finds what a path leaves out. */
export interface UserPlace {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
}

/** What tokens stand for: the login as it will be made. */
export interface TokenValues {
  readonly host: string
  readonly port: number
  readonly user: string
  /** The name of the host as it was asked for. */
  readonly asked: string
  /** The user at this computer; when it is left out, the one of this process. */
  readonly localUser?: string | undefined
}

/** Fills in the tokens of ssh_config(5); one that is not known stays, and a file of that name does not exist. */
export function fillTokens(text: string, values: TokenValues, homeDir: string): string {
  const local = hostname()
  const { host, port, user } = values
  const tokens: Readonly<Record<string, string>> = {
    '%%': '%',
    '%C': createHash('sha1').update(`${local}${host}${port}${user}`).digest('hex'),
    '%d': homeDir,
    '%h': values.host,
    '%i': String(process.getuid?.() ?? ''),
    '%k': values.host,
    '%L': local.split('.')[0] ?? local,
    '%l': local,
    '%n': values.asked,
    '%p': String(values.port),
    '%r': values.user,
  }
  const fill = (token: string) =>
    token === '%u' ? (values.localUser ?? userInfo().username) : (tokens[token] ?? token)
  return text.replace(/%./g, fill)
}

/** Fills in the tokens that HostName has: `%h` is the host that was asked for. */
export function fillHostName(text: string, asked: string): string {
  return text.replace(/%[%h]/g, (token) => (token === '%h' ? asked : '%'))
}

/** Turns a path of a configuration into one of this computer: quotes, `~`, `${NAME}` and tokens. */
export function fillPath(path: string, values: TokenValues, { env, homeDir }: UserPlace): string {
  const bare = path.replace(/^"(.*)"$/, '$1')
  const home = bare === '~' || bare.startsWith('~/') ? homeDir + bare.slice(1) : bare
  const named = home.replace(/\$\{(\w+)\}/g, (_, name: string) => env[name] ?? '')
  return fillTokens(named, values, homeDir)
}

/** As `fillPath`; a relative path is looked for in the home folder. */
export function fillFile(path: string, values: TokenValues, place: UserPlace): string {
  const filled = fillPath(path, values, place)
  return isAbsolute(filled) ? filled : join(place.homeDir, filled)
}

export interface Agent {
  readonly useAgent: boolean
  /** Undefined = the one of `SSH_AUTH_SOCK`. */
  readonly agentSocket: string | undefined
}

/** Reads an IdentityAgent of ssh_config. */
export function agentOf(agent: string, values: TokenValues, place: UserPlace): Agent {
  if (agent === 'none') return { useAgent: false, agentSocket: undefined }
  if (agent === 'SSH_AUTH_SOCK') return { useAgent: true, agentSocket: undefined }
  // `$NAME` = the variable that holds the path; ssh asks no agent where it is not set.
  const agentSocket = /^\$[A-Za-z_]\w*$/.test(agent)
    ? place.env[agent.slice(1)]
    : fillPath(agent, values, place)
  return { useAgent: agentSocket !== undefined, agentSocket }
}

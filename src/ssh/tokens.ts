import { createHash } from 'node:crypto'
import { hostname, userInfo } from 'node:os'
import { isAbsolute, join } from 'node:path'

/** The facts with which the user's ssh expands a path. */
export interface UserPlace {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
}

/** The values of the tokens of ssh_config(5), such as `%h` and `%r`, for one login. */
export interface TokenValues {
  readonly host: string
  readonly port: number
  readonly user: string
  /** The name of the host as requested. */
  readonly asked: string
  /** The user at this computer; by default the user of this process. */
  readonly localUser?: string | undefined
}

/** Expands the tokens of ssh_config(5). An unknown token stays in the text, so that the path leads to no file. */
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

/** Expands the tokens of HostName: `%h` is the requested host. */
export function fillHostName(text: string, asked: string): string {
  return text.replace(/%[%h]/g, (token) => (token === '%h' ? asked : '%'))
}

/** Expands a path of a configuration into a path on this computer: quotes, `~`, `${NAME}` and tokens. */
export function fillPath(path: string, values: TokenValues, { env, homeDir }: UserPlace): string {
  const bare = path.replace(/^"(.*)"$/, '$1')
  const home = bare === '~' || bare.startsWith('~/') ? homeDir + bare.slice(1) : bare
  const named = home.replace(/\$\{(\w+)\}/g, (_, name: string) => env[name] ?? '')
  return fillTokens(named, values, homeDir)
}

/** Expands a path as `fillPath` does; a relative path is relative to the home folder. */
export function fillFile(path: string, values: TokenValues, place: UserPlace): string {
  const filled = fillPath(path, values, place)
  return isAbsolute(filled) ? filled : join(place.homeDir, filled)
}

export interface Agent {
  readonly useAgent: boolean
  /** The agent's socket; undefined for the socket of `SSH_AUTH_SOCK`. */
  readonly agentSocket: string | undefined
}

/** Parses an IdentityAgent of ssh_config. */
export function agentOf(agent: string, values: TokenValues, place: UserPlace): Agent {
  if (agent === 'none') return { useAgent: false, agentSocket: undefined }
  if (agent === 'SSH_AUTH_SOCK') return { useAgent: true, agentSocket: undefined }
  // `$NAME` is the variable that holds the path; ssh uses no agent if the variable is not set.
  const agentSocket = /^\$[A-Za-z_]\w*$/.test(agent)
    ? place.env[agent.slice(1)]
    : fillPath(agent, values, place)
  return { useAgent: agentSocket !== undefined, agentSocket }
}

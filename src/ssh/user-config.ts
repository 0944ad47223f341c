import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, tmpdir, userInfo } from 'node:os'
import { isAbsolute, join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { failure, usageError } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { UserSshConfig } from '../core/ssh.js'
import { definedOnly } from './jump.js'

/** `ssh -G` runs the `Match exec` commands of the user's configuration; one of them may hang. */
const deadlineMs = 10_000

export interface UserConfigTools {
  readonly local: Pick<LocalCommands, 'run'>
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
}

/** See `Ssh.resolveUserConfig`. */
export async function resolveUserConfig(
  host: string,
  run: Run,
  tools: UserConfigTools,
): Promise<UserSshConfig> {
  const values = await ask(host, [], run, tools)
  const local = userInfo().username
  const config = readUserConfig(values, { ...tools, host, user: local, exists: existsSync })
  if (config.user !== local) return config
  // ssh does not tell "User me" from no User at all; the latter must not hide deployment.targetUser's default.
  return (await namesUser(host, run, tools)) ? config : { ...config, user: undefined }
}

async function ask(
  host: string,
  flags: readonly string[],
  run: Run,
  tools: UserConfigTools,
): Promise<Map<string, string[]>> {
  const what = `read the ssh configuration for '${host}'`
  const result = await tools.local.run(['ssh', ...flags, '-G', '--', host], {
    signal: run.signal,
    timeoutMs: deadlineMs,
    what,
    env: definedOnly(tools.env),
  })
  if (result.kind !== 'exited' || result.code !== 0) {
    const said = result.stderr.trim()
    if (/hostname contains invalid characters/.test(said)) throw usageError(`'${host}' is not a host name`)
    throw failure('SSH_CONFIG', `cannot ${what}`, {
      hint: `try: ssh -G ${host}`,
      ...(said === '' ? {} : { detail: said }),
    })
  }
  return parseSshG(result.stdout)
}

const unset = 'hydra-ops-user-not-set'

/** The same files, followed by a User that counts only where they set none. */
async function namesUser(host: string, run: Run, tools: UserConfigTools): Promise<boolean> {
  const config = `Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\nMatch all\n  User ${unset}\n`
  // A file: Node's pipes are sockets, which cannot be opened again as /dev/stdin.
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-ssh-'))
  try {
    const file = join(folder, 'config')
    writeFileSync(file, config, { mode: 0o600 })
    return (await ask(host, ['-F', file], run, tools)).get('user')?.[0] !== unset
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** `keyword value` per line; a keyword may come more than once. */
export function parseSshG(text: string): Map<string, string[]> {
  const values = new Map<string, string[]>()
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ')
    if (space === -1) continue
    const keyword = line.slice(0, space).toLowerCase()
    values.set(keyword, [...(values.get(keyword) ?? []), line.slice(space + 1).trim()])
  }
  return values
}

export interface Expansion {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  /** As the user wrote it. */
  readonly host: string
  /** The local user. */
  readonly user: string
  exists(file: string): boolean
}

export function readUserConfig(
  values: ReadonlyMap<string, readonly string[]>,
  given: Expansion,
): UserSshConfig {
  const first = (keyword: string): string | undefined => {
    const value = values.get(keyword)?.[0]
    return value === undefined || value === 'none' || value === '' ? undefined : value
  }
  const hostName = first('hostname') ?? given.host
  const port = Number(first('port') ?? 22)
  const user = first('user') ?? given.user
  const expand = expander(given, { hostName, port, user })
  const agent = values.get('identityagent')?.[0]
  const jump = first('proxyjump')
  return {
    hostName,
    port,
    user,
    identityFiles: identityFiles(values.get('identityfile') ?? [], expand, given),
    identitiesOnly: first('identitiesonly') === 'yes',
    jump,
    proxyCommand:
      jump === undefined && first('proxycommand') !== undefined
        ? expand(first('proxycommand') ?? '')
        : undefined,
    useAgent: agent !== 'none',
    agentSocket: agentSocket(agent, expand, given),
  }
}

/** Default names that do not exist are listed by ssh too; where only the public half lies here, an agent may know more. */
function identityFiles(
  listed: readonly string[],
  expand: (text: string) => string,
  given: Expansion,
): string[] {
  return listed
    .filter((file) => file !== 'none')
    .map((file) => absolute(expandPath(file, expand, given), given))
    .flatMap((file) => [file, `${file}.pub`].filter((each) => given.exists(each)).slice(0, 1))
}

function agentSocket(
  agent: string | undefined,
  expand: (text: string) => string,
  given: Expansion,
): string | undefined {
  if (agent === undefined || agent === 'none' || agent === 'SSH_AUTH_SOCK') return undefined
  // `$NAME` = the variable that holds the path.
  if (/^\$[A-Za-z_]\w*$/.test(agent)) return given.env[agent.slice(1)]
  return expandPath(agent, expand, given)
}

function expandPath(path: string, expand: (text: string) => string, given: Expansion): string {
  const bare = path.replace(/^"(.*)"$/, '$1')
  const home = bare === '~' || bare.startsWith('~/') ? given.homeDir + bare.slice(1) : bare
  return expand(home.replace(/\$\{(\w+)\}/g, (_, name: string) => given.env[name] ?? ''))
}

function absolute(path: string, given: Expansion): string {
  return isAbsolute(path) ? path : join(given.homeDir, path)
}

/** Tokens of ssh_config(5); one that we do not know stays, and its file then does not exist. */
function expander(
  given: Expansion,
  found: { readonly hostName: string; readonly port: number; readonly user: string },
): (text: string) => string {
  const local = hostname()
  const tokens: Readonly<Record<string, string>> = {
    '%%': '%',
    '%d': given.homeDir,
    '%h': found.hostName,
    '%i': String(process.getuid?.() ?? ''),
    '%k': found.hostName,
    '%L': local.split('.')[0] ?? local,
    '%l': local,
    '%n': given.host,
    '%p': String(found.port),
    '%r': found.user,
    '%u': given.user,
  }
  return (text) => text.replace(/%./g, (token) => tokens[token] ?? token)
}

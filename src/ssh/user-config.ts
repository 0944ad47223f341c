import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { failure, OpsError, usageError } from '../core/errors.js'
import type { Run } from '../core/run.js'
import { shellQuote } from '../core/shell-quote.js'
import type { LoginRequest, UserSshConfig } from '../core/ssh.js'
import { readSshOptions } from '../core/ssh-options.js'
import { definedOnly } from './jump.js'
import type { SharedAnswers, SshAnswer, SshQuestion } from './shared-answers.js'
import { firstOf } from './ssh-options.js'
import { agentOf, fillFile, fillTokens, type TokenValues, type UserPlace } from './tokens.js'

/** The deadline of `ssh -G`, which runs the `Match exec` commands of the user's configuration; a command may hang. */
const deadlineMs = 10_000

export interface UserConfigTools extends UserPlace {
  readonly local: Pick<LocalCommands, 'run'>
  readonly shared: SharedAnswers
}

/** Implements `Ssh.resolveUserConfig`. */
export async function resolveUserConfig(
  host: string,
  run: Run,
  login: LoginRequest,
  tools: UserConfigTools,
): Promise<UserSshConfig> {
  const options = readSshOptions(login.sshOptions).options
  const port = firstOf(options, 'port') ?? login.port
  const hostName = firstOf(options, 'hostname')
  const place = [
    ...(port === undefined ? [] : ['-p', String(port)]),
    ...(hostName === undefined ? [] : ['-o', `HostName=${hostName}`]),
  ]
  const wanted = firstOf(options, 'user') ?? login.user
  const question = { host, port, user: wanted }
  const shared = hostName === undefined ? tools.shared.find(question) : undefined
  const answer = shared ?? (await askAnew(question, place, run, tools))
  return readUserConfig(answer, { ...tools, host, user: userInfo().username, exists: existsSync })
}

async function askAnew(
  question: SshQuestion,
  place: readonly string[],
  run: Run,
  tools: UserConfigTools,
): Promise<SshAnswer> {
  const { host } = question
  const user = question.user ?? (await namedUser(host, place, run, tools)) ?? defaultUser
  const { answer, said } = await ask(host, [...place, '-l', user], run, tools)
  tools.shared.keep(question, answer, said)
  return answer
}

/** The default user, as in NixOps. */
const defaultUser = 'root'

/**
 * Queries ssh for its effective settings for a host. `config` replaces the user's own files; errors do not show
 * `config`.
 */
async function ask(
  host: string,
  flags: readonly string[],
  run: Run,
  tools: UserConfigTools,
  config: readonly string[] = [],
): Promise<{ readonly answer: SshAnswer; readonly said: string }> {
  const what = `read the ssh configuration for '${host}'`
  const result = await tools.local.run(['ssh', ...config, ...flags, '-v', '-G', '--', host], {
    signal: run.signal,
    timeoutMs: deadlineMs,
    what,
    env: definedOnly(tools.env),
  })
  if (result.kind !== 'exited' || result.code !== 0) {
    const said = withoutDebug(result.stderr).trim()
    if (/hostname contains invalid characters/.test(said)) throw usageError(`'${host}' is not a host name`)
    throw failure('SSH_CONFIG', `cannot ${what}`, {
      hint: `run ${['ssh', ...flags.map(shellQuote), '-G', shellQuote(host)].join(' ')}`,
      ...(said === '' ? {} : { detail: said }),
    })
  }
  return { answer: parseSshG(result.stdout), said: result.stderr }
}

/** Removes the debug lines of `ssh -v`, which name the files of the configuration. */
function withoutDebug(said: string): string {
  return said.replace(/^(?:debug\d: |OpenSSH_).*\n?/gm, '')
}

const unset = 'hydra-ops-user-not-set'

/**
 * Finds the User in the configuration files of ssh; returns undefined if the files set none. ssh prints the same for
 * "User me" and for no User at all. A placeholder User after the files therefore counts only if the files set none. ssh
 * requires that an included file belongs to root or the user, unlike the system-wide file that ssh reads by itself.
 * Only the question without a placeholder works in a user namespace without root.
 */
async function namedUser(
  host: string,
  place: readonly string[],
  run: Run,
  tools: UserConfigTools,
): Promise<string | undefined> {
  const config = `Include ~/.ssh/config\nInclude /etc/ssh/ssh_config\nMatch all\n  User ${unset}\n`
  // Node's pipes are sockets, which cannot be opened again as /dev/stdin, so the text goes through a file.
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-ssh-'))
  try {
    const file = join(folder, 'config')
    writeFileSync(file, config, { mode: 0o600 })
    const user = (await ask(host, place, run, tools, ['-F', file])).answer.get('user')?.[0]
    return user === unset ? undefined : user
  } catch (error) {
    if (!(error instanceof OpsError) || error.code !== 'SSH_CONFIG') throw error
    const user = (await ask(host, place, run, tools)).answer.get('user')?.[0]
    return user === userInfo().username ? undefined : user
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Parses lines of `keyword value`; a keyword may occur more than once. */
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

export interface Expansion extends UserPlace {
  /** The host as the user wrote it. */
  readonly host: string
  /** The local user. */
  readonly user: string
  exists(file: string): boolean
}

/** Reads the output of `ssh -G` for the planned login. */
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
  const tokens: TokenValues = { host: hostName, port, user, asked: given.host, localUser: given.user }
  const files = (keyword: string) =>
    (values.get(keyword) ?? []).filter((file) => file !== 'none').map((file) => fillFile(file, tokens, given))
  const fill = (text: string | undefined) =>
    text === undefined ? undefined : fillTokens(text, tokens, given.homeDir)
  const agent = values.get('identityagent')?.[0] ?? 'SSH_AUTH_SOCK'
  const jump = first('proxyjump')
  return {
    hostName,
    port,
    user,
    // ssh also lists default files that do not exist. A public key suffices, because an agent may hold its private key.
    identityFiles: files('identityfile').flatMap((file) =>
      [file, `${file}.pub`].filter((each) => given.exists(each)).slice(0, 1),
    ),
    certificateFiles: files('certificatefile').filter((file) => given.exists(file)),
    identitiesOnly: first('identitiesonly') === 'yes',
    jump: fill(jump),
    proxyCommand: jump === undefined ? fill(first('proxycommand')) : undefined,
    ...agentOf(agent, tokens, given),
  }
}

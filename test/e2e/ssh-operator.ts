import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { packageRoot } from '../../src/core/package-root.js'
import type { Guest } from '../fixtures/guest.js'
import { type Ended, type OperatorHost, operatorHost, type RunOptions } from './operator.js'

/** The text to wait for on the screen, and the text to type then. */
export type Answer = readonly [seen: string, typed: string]

export interface TerminalOptions extends RunOptions {
  /** A program that starts the command, such as strace. */
  readonly under?: readonly string[]
}

/** An operator host whose user has a separate ssh configuration. */
export interface SshOperator extends OperatorHost {
  /** Replaces `~/.ssh/config`. */
  sshConfig(text: string): void
  /** Replaces `~/.ssh/known_hosts`. */
  knownHosts(text: string): void
  /** Runs `hydra-ops …` on a terminal; stdout is the visible text without control sequences. */
  onTerminal(args: readonly string[], answers: readonly Answer[], options?: TerminalOptions): Promise<Ended>
}

export function sshOperator(): SshOperator {
  const home = mkdtempSync(join(tmpdir(), 'ho-home-'))
  const passwd = join(home, 'passwd')
  writeFileSync(passwd, passwdWithHome(home))
  mkdirSync(join(home, '.ssh'), { mode: 0o700 })
  const host = operatorHost({ home, within: withPasswd(passwd) })
  const sshFile = (name: string, text: string) =>
    writeFileSync(join(home, '.ssh', name), text, { mode: 0o600 })
  return {
    ...host,
    sshConfig: (text) => sshFile('config', text),
    knownHosts: (text) => sshFile('known_hosts', text),
    onTerminal: (args, answers, options) => onTerminal(host, args, answers, options),
    dispose() {
      host.dispose()
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** Returns the part of an ssh configuration with which an operator logs in to a guest as root. */
export function rootLogin(
  host: string,
  { port, identityFile }: Pick<Guest, 'port' | 'identityFile'>,
): string {
  return `Host ${host}
  HostName 127.0.0.1
  Port ${port}
  User root
  IdentityFile ${identityFile}
`
}

/** Returns an /etc/passwd with another home for the user: ssh reads the home from /etc/passwd, not from $HOME. */
function passwdWithHome(home: string): string {
  const { username, uid, gid } = userInfo()
  const others = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .filter((line) => !line.startsWith(`${username}:`))
  return [`${username}:x:${uid}:${gid}::${home}:/bin/sh`, ...others].join('\n')
}

/** Returns a command prefix that replaces /etc/passwd in a separate mount namespace, and keeps the user. */
function withPasswd(passwd: string): string[] {
  const { uid, gid } = userInfo()
  const script = `mount --bind '${passwd}' /etc/passwd
exec unshare --user --map-user=${uid} --map-group=${gid} -- "$@"`
  return ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-euc', script, 'sh']
}

async function onTerminal(
  host: OperatorHost,
  args: readonly string[],
  answers: readonly Answer[],
  options: TerminalOptions = {},
): Promise<Ended> {
  const cli = join(packageRoot(), 'dist', 'src', 'cli.js')
  const words = [...(options.under ?? []), process.execPath, cli, ...args]
    .map((word) => `'${word}'`)
    .join(' ')
  const waiting = [...answers]
  const ended = await host.program(['script', '-qec', `stty cols 200 rows 50; exec ${words}`, '/dev/null'], {
    ...options,
    env: { TERM: 'xterm-256color', ...options.env },
    converse(text, type) {
      const [next] = waiting
      if (next === undefined || !text.includes(next[0])) return false
      waiting.shift()
      type(next[1])
      return true
    },
  })
  const stdout = stripVTControlCharacters(ended.stdout)
  if (waiting.length > 0) throw new Error(`never seen: ${waiting[0]?.[0]}\n${stdout}`)
  return { ...ended, stdout }
}

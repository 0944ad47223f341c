import { basename } from 'node:path'
import { failure } from '../core/errors.js'
import type { SshTarget } from '../core/ssh.js'
import {
  byStdin,
  forLoginShell,
  forSh,
  framedScript,
  type Handed,
  loginMark,
  type Nonce,
  quote,
  syncLine,
} from './command-line.js'

/**
 * Way in which a command gains root privileges. The first command of a connection (`untried`) finds the way itself,
 * which saves a session.
 */
export type Escalation =
  | { readonly kind: 'untried' }
  | { readonly kind: 'root' }
  | { readonly kind: 'sudo' }
  | { readonly kind: 'sudo-password'; readonly password: string }

/** The command for sshd, and the text on stdin around the command's own input. */
export interface Launch {
  readonly command: string
  /** The text that is written at once, possibly with the sudo password. */
  readonly atOnce: string
  /** The text that is written before the command's own input. */
  readonly afterMark: string
}

/** Builds the launch of a framed script as the login user. */
export function launchAsLoginUser(nonce: Nonce, script: string): Launch {
  const handed = forLoginShell(nonce, framedScript(nonce, script, false))
  return { command: handed.words, atOnce: handed.stdinLine, afterMark: '' }
}

/**
 * Builds the launch of a framed script as root. The frame is inside sudo, so that sudo's own messages never count as
 * output. If there is a password, the machine drops all input up to a sync line. A password that sudo did not read
 * therefore never becomes the command's input.
 */
export function launchAsRoot(
  nonce: Nonce,
  script: string,
  target: SshTarget,
  escalation: Escalation,
): Launch {
  if (escalation.kind === 'root') return launchAsLoginUser(nonce, script)
  const withPassword = escalation.kind === 'sudo-password'
  const untried = escalation.kind === 'untried'
  const framed = `${untried ? onlyRoot : ''}${framedScript(nonce, script, withPassword)}`
  const words = (withPassword ? passwordWords(target) : promptlessWords(target)).map(quote).join(' ')
  const outer = (inner: Handed) =>
    forLoginShell(
      nonce,
      [
        inEnglish,
        loginMark(nonce),
        ...(untried ? chosenWay(words, inner.words) : [`exec ${words} ${inner.words}`]),
      ].join('\n'),
    )
  const legible = forSh(framed)
  const short = outer(legible).stdinLine === ''
  const inner = short ? legible : byStdin(nonce, framed)
  return {
    command: outer(inner).words,
    atOnce: (withPassword ? `${escalation.password}\n` : '') + inner.stdinLine,
    afterMark: withPassword ? `${syncLine(nonce)}\n` : '',
  }
}

/**
 * Returns lines that run a command directly if the user is root, and otherwise through sudo. The name of the chosen way
 * becomes `$2` of the command, and the opening mark reports the name. (`$1` may be an encoded script.)
 */
function chosenWay(words: string, command: string): string[] {
  return [
    'if [ "$(id -u)" = 0 ]; then set -- ; _ops_way=root',
    words === '' ? 'else exit 1' : `else set -- ${words}; _ops_way=sudo`,
    'fi',
    `exec "$@" ${command} sh - "$_ops_way"`,
  ]
}

/** Lines that end a command before its opening mark if the escalation program did not run the command as root. */
const onlyRoot = '[ "$2" = root ] || [ "$(id -u)" = 0 ] || exit 1\n'

/** Locale for sudo's own messages, which must be in English; the framed script sets its own locale. */
const inEnglish = 'LC_ALL=C; export LC_ALL'

function promptlessWords(target: SshTarget): string[] {
  if (target.privilegeEscalation.length === 0) return []
  const [program = '', ...rest] = target.privilegeEscalation
  return ['sudo', 'doas'].includes(basename(program)) ? [program, '-n', ...rest] : [program, ...rest]
}

/** Returns sudo's words with `-k`, so that no cached ticket applies and the password line is always read. */
function passwordWords(target: SshTarget): string[] {
  const [program = '', ...rest] = target.privilegeEscalation
  return [program, '-k', '-S', '-p', '', ...rest]
}

export function canTakePassword(target: SshTarget): boolean {
  return basename(target.privilegeEscalation[0] ?? '') === 'sudo'
}

/** Returns a check that runs as the login user. Its stdin holds only the password, so that sudo cannot ask forever. */
export function passwordCheckScript(target: SshTarget): string {
  return [inEnglish, `${passwordWords(target).map(quote).join(' ')} sh -c 'id -u'`].join('\n')
}

/**
 * Tells whether sudo refused only because it needs a password. The English messages of sudo 1.8, 1.9 and sudo-rs
 * decide. sudo also asks a user who is not in sudoers for a password, and refuses only afterwards.
 */
export function wantsPassword(said: string): boolean {
  return /a (?:password|terminal) is required|no tty present and no askpass program|interactive authentication is required/i.test(
    said,
  )
}

/** The facts that the error messages below need. */
interface Who {
  readonly target: SshTarget
  readonly said: string
}

export function noEscalation({ target, said }: Who, status: number): Error {
  const program = target.privilegeEscalation[0]
  const { machine, user } = target
  const asRoot = 'or log in as root (deployment.targetUser = "root")'
  if (program === undefined) {
    return failure(
      'NOT_ROOT',
      `machine '${machine}': user '${user}' is not root, and deployment.privilegeEscalationCommand is empty`,
      { machine, hint: `set deployment.privilegeEscalationCommand, ${asRoot}` },
    )
  }
  if (status === 127) {
    return failure('NO_SUDO', `machine '${machine}': '${program}' is not installed on the machine`, {
      machine,
      hint: `install '${program}', ${asRoot}`,
    })
  }
  const words = refusalIn(said)
  return failure(
    'NO_SUDO',
    `machine '${machine}': user '${user}' cannot become root with '${program}'${inItsWords(words)}`,
    {
      machine,
      hint: /must have a tty/.test(said)
        ? `sudoers has 'requiretty'; add 'Defaults:${user} !requiretty' to sudoers, ${asRoot}`
        : `allow '${program}' without a password, ${asRoot}`,
      ...beyond(words, said),
    },
  )
}

export function passwordNeeded({ target, said }: Who): Error {
  return failure(
    'SUDO_PASSWORD',
    `machine '${target.machine}': sudo requires the password of user '${target.user}', but there is no terminal for the question`,
    {
      machine: target.machine,
      hint: `run the command in a terminal, allow '${target.user}' sudo without a password (NOPASSWD), or log in as root`,
      ...(said === '' ? {} : { detail: said }),
    },
  )
}

/** Builds the error for a refused password; sudo's own messages (in English, `inEnglish`) give the reason. */
export function passwordRefused({ target, said }: Who): Error {
  const { machine, user } = target
  const wrong = /incorrect password|Sorry, try again|no password was provided|Authentication failed/i.test(
    said,
  )
  if (wrong) {
    const message = `machine '${machine}': sudo did not accept the password of user '${user}'`
    return failure('SUDO_PASSWORD', message, { machine, detail: lastWords(said) })
  }
  const words = refusalIn(said)
  const message = `machine '${machine}': user '${user}' cannot become root with sudo${inItsWords(words)}`
  return failure('SUDO_PASSWORD', message, { machine, ...beyond(words, lastWords(said)) })
}

/** Finds the line in which the program refuses; returns an empty text if there is none. */
function refusalIn(said: string): string {
  const words = lastWords(said) === '' ? said.trim() : lastWords(said)
  return words.split('\n').at(-1) ?? ''
}

/** Formats the refusal as the end of an error message. */
function inItsWords(words: string): string {
  return words === '' ? '' : `; the program says: ${words}`
}

/** Returns the output as the detail of an error, unless the error's message already quotes all of the output. */
function beyond(words: string, said: string): { detail?: string } {
  return said.trim() === words ? {} : { detail: said }
}

/** Returns sudo's own error lines, without its lecture. */
function lastWords(said: string): string {
  return said
    .split('\n')
    .filter(
      (line) =>
        line.startsWith('sudo:') ||
        line.startsWith('sudo-rs:') ||
        /is not (in|allowed)|^Sorry, user /.test(line),
    )
    .join('\n')
}

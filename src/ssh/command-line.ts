import { usageError } from '../core/errors.js'

/**
 * The form in which a command reaches a machine. sshd passes one string to the user's login shell: bash, dash, zsh,
 * fish or tcsh. The string is therefore `sh -c '…' '…'`, which all these shells read alike, and carries a POSIX sh
 * script. All data in such a script goes through `quote`.
 */

/** Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN); sshd passes our string as one argument. */
const maxEncoded = 100_000

/** Folders that are added to PATH, so that root through sudo or doas finds a root login's programs and Nix. */
const extraPath =
  '/usr/local/sbin:/usr/sbin:/sbin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin'

/** Quotes a text as one word of a POSIX shell command. All quoting for a machine's shell uses this function. */
export function quote(text: string): string {
  if (text.includes('\0') || /\p{Surrogate}/u.test(text)) {
    throw usageError('a command argument holds a NUL or an incomplete character, which ssh cannot pass on')
  }
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** Builds a script that runs an argument vector: `exec` finds only programs, never builtins or functions. */
export function argvScript(argv: readonly string[]): string {
  const [program] = argv
  if (program === undefined || program === '' || program.startsWith('-')) {
    throw usageError(`'${program ?? ''}' is not the name of a program`)
  }
  return `exec ${argv.map(quote).join(' ')}`
}

/** Builds a script that runs another script with positional parameters. */
export function parameterScript(text: string, args: readonly string[]): string {
  return argvScript(['sh', '-c', text, 'sh', ...args])
}

/** A random text per command, written in two halves wherever a shell might echo the script. */
export interface Nonce {
  readonly left: string
  readonly right: string
}

/** Puts marks around a script's output; framing.ts explains the marks. */
export function framedScript(nonce: Nonce, script: string, discardUntilSync: boolean): string {
  const mark = (rest: string) => `printf '%s%s${rest}' ${nonce.left} ${nonce.right}`
  return [
    'LC_ALL=C.UTF-8',
    `PATH=\${PATH:+$PATH:}${extraPath}`,
    'export LC_ALL PATH',
    // Field 5 is the process group, which receives the signals that end a cancelled command.
    '_ops_group=0',
    '{ read -r _ _ _ _ _ops_group _ </proc/$$/stat; } 2>/dev/null',
    `${mark('{%s %s %s\\n')} "$$" "$_ops_group" "\${2-}"`,
    `${mark('{\\n')} >&2`,
    ...(discardUntilSync ? [`while IFS= read -r _ops_line; do ${untilSync(nonce)}; done`] : []),
    `(${script}\n)`,
    '_ops_status=$?',
    `${mark('}%s\\n')} "$_ops_status"`,
    `${mark('}%s\\n')} "$_ops_status" >&2`,
  ].join('\n')
}

/** Returns a command that reports, before sudo runs, that the login shell works. */
export function loginMark(nonce: Nonce): string {
  return `printf '%s%s%s\\n' login- ${nonce.left} ${nonce.right} >&2`
}

/** Returns the line that the login mark prints. */
export function loginLine(nonce: Nonce): string {
  return `login-${nonce.left}${nonce.right}\n`
}

function untilSync(nonce: Nonce): string {
  return `[ "$_ops_line" = ${syncLine(nonce)} ] && break`
}

/** Returns the line after which stdin belongs to the command. */
export function syncLine(nonce: Nonce): string {
  return `sync-${nonce.right}${nonce.left}`
}

/** The form in which `sh` gets a script: an argument, or a line of stdin if the script is too long. */
export interface Handed {
  readonly words: string
  readonly stdinLine: string
}

/** Encodes a script for any login shell. */
export function forLoginShell(nonce: Nonce, script: string): Handed {
  const encoded = encode(script)
  if (encoded.length > maxEncoded) return byStdin(nonce, script)
  return { words: `sh -c 'eval "$(printf %b "$1")"' sh '${encoded}'`, stdinLine: '' }
}

/** Quotes a script for a command line that sh itself reads; sudo writes this line legibly to the system's log. */
export function forSh(script: string): Handed {
  return { words: `sh -c ${quote(script)}`, stdinLine: '' }
}

/** Passes a script of any length through stdin. Earlier lines (a password that sudo did not read) are skipped. */
export function byStdin(nonce: Nonce, script: string): Handed {
  const tag = `script-${nonce.left}:`
  const skip = `while IFS= read -r s; do case $s in ${tag}*) break;; esac; done`
  return {
    words: `sh -c '${skip}; eval "$(printf %b "\${s#${tag}}")"'`,
    stdinLine: `${tag}${encode(script)}\n`,
  }
}

/**
 * Encodes a script for `printf %b`. The result is printable, without quotes, `!` (history of csh), or a backslash
 * except before a zero. Single quotes of every shell therefore leave the result unchanged.
 */
export function encode(script: string): string {
  let encoded = ''
  for (const byte of Buffer.from(script, 'utf8')) {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x21 && byte !== 0x27 && byte !== 0x5c
    encoded += plain ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, '0')}`
  }
  return encoded
}

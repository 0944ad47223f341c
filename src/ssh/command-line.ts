import { usageError } from '../core/errors.js'

/**
 * How a command reaches a machine. sshd hands one string to the user's login shell, which may be bash, dash, zsh,
 * fish or tcsh; so the string is `sh -c '…' '…'` in a form that all of them read alike, and carries a POSIX sh
 * script. Everything that becomes part of such a script as data goes through `quote`.
 */

/** Linux refuses a single argument of 128 KiB or more (MAX_ARG_STRLEN); sshd makes our string one. */
const maxEncoded = 100_000

/** Appended, so that root reached by sudo or doas finds what a login as root would, and Nix wherever it lies. */
const extraPath =
  '/usr/local/sbin:/usr/sbin:/sbin:/run/current-system/sw/bin:/nix/var/nix/profiles/default/bin'

/** One word of a POSIX shell command that stands for exactly this text. The only quoting function there is. */
export function quote(text: string): string {
  if (text.includes('\0') || /\p{Surrogate}/u.test(text)) {
    throw usageError('a command argument holds a NUL or half a character: it cannot be passed on unchanged')
  }
  return `'${text.replaceAll("'", `'\\''`)}'`
}

/** A script that becomes this argument vector: `exec` finds programs only, never builtins or functions. */
export function argvScript(argv: readonly string[]): string {
  const [program] = argv
  if (program === undefined || program === '' || program.startsWith('-')) {
    throw usageError(`'${program ?? ''}' is not the name of a program`)
  }
  return `exec ${argv.map(quote).join(' ')}`
}

/** A script that runs another one with positional parameters. */
export function parameterScript(text: string, args: readonly string[]): string {
  return argvScript(['sh', '-c', text, 'sh', ...args])
}

/** Random per command. It is written in two halves wherever a shell might echo its source. */
export interface Nonce {
  readonly left: string
  readonly right: string
}

/** Surrounds a script's output by marks; see framing.ts for what they mean. */
export function framedScript(nonce: Nonce, script: string, discardUntilSync: boolean): string {
  const mark = (rest: string) => `printf '%s%s${rest}' ${nonce.left} ${nonce.right}`
  return [
    'LC_ALL=C.UTF-8',
    `PATH=\${PATH:+$PATH:}${extraPath}`,
    'export LC_ALL PATH',
    // Field 5 = process group: what a cancelled command is ended by.
    '_ops_group=0',
    '{ read -r _ _ _ _ _ops_group _ </proc/$$/stat; } 2>/dev/null',
    `${mark('{%s %s\\n')} "$$" "$_ops_group"`,
    `${mark('{\\n')} >&2`,
    ...(discardUntilSync ? [`while IFS= read -r _ops_line; do ${untilSync(nonce)}; done`] : []),
    `(${script}\n)`,
    '_ops_status=$?',
    `${mark('}%s\\n')} "$_ops_status"`,
    `${mark('}%s\\n')} "$_ops_status" >&2`,
  ].join('\n')
}

function untilSync(nonce: Nonce): string {
  return `[ "$_ops_line" = ${syncLine(nonce)} ] && break`
}

/** What ends the part of stdin that is not the command's own. */
export function syncLine(nonce: Nonce): string {
  return `sync-${nonce.right}${nonce.left}`
}

/** How a script is handed to `sh`: as an argument, or, where that would be too long, as a line of stdin. */
export interface Handed {
  readonly words: string
  readonly stdinLine: string
}

/** For a login shell that may be any. */
export function forLoginShell(nonce: Nonce, script: string): Handed {
  const encoded = encode(script)
  if (encoded.length > maxEncoded) return byStdin(nonce, script)
  return { words: `sh -c 'eval "$(printf %b "$1")"' sh '${encoded}'`, stdinLine: '' }
}

/** For a command line that sh itself reads: legible in the system's log, where sudo writes it. */
export function forSh(script: string): Handed {
  return { words: `sh -c ${quote(script)}`, stdinLine: '' }
}

/** For either, and of any length. Lines before it (a password that sudo did not want) are skipped. */
export function byStdin(nonce: Nonce, script: string): Handed {
  const tag = `script-${nonce.left}:`
  const skip = `while IFS= read -r s; do case $s in ${tag}*) break;; esac; done`
  return {
    words: `sh -c '${skip}; eval "$(printf %b "\${s#${tag}}")"'`,
    stdinLine: `${tag}${encode(script)}\n`,
  }
}

/**
 * For `printf %b`. What is left is printable and has no quote, no `!` (history of csh) and no backslash but before
 * a zero, so it means itself between the single quotes of every shell.
 */
export function encode(script: string): string {
  let encoded = ''
  for (const byte of Buffer.from(script, 'utf8')) {
    const plain = byte >= 0x20 && byte < 0x7f && byte !== 0x21 && byte !== 0x27 && byte !== 0x5c
    encoded += plain ? String.fromCharCode(byte) : `\\0${byte.toString(8).padStart(3, '0')}`
  }
  return encoded
}

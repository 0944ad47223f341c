import { describeEnd, lastLines } from '../../core/command-result.js'
import type { LocalCommands } from '../../core/context.js'
import { failure, usageError } from '../../core/errors.js'

const askMs = 60_000

/** Git's messages for a branch without an upstream, or for a checkout without a branch. */
const noUpstream = /no upstream|no such branch|upstream branch|does not point to a branch|unknown revision/

/** Queries to git about one checkout. */
export interface Checkout {
  /** Returns the given files that git tracks, with paths below the checkout. */
  tracked(files: readonly string[]): Promise<string[]>
  /** Returns the number of tracked files whose content is not committed. */
  uncommitted(): Promise<number>
  /** Returns the number of files below a folder that git neither tracks nor ignores. */
  untracked(folder: string): Promise<number>
  /** Returns the number of commits that the upstream branch lacks; 0 if there is no upstream branch. */
  unpushed(): Promise<number>
  /** Returns the URL of the remote `origin` and the current branch, in the form of a Hydra input. */
  origin(): Promise<string | undefined>
}

export function checkoutAt(local: Pick<LocalCommands, 'run'>, root: string, signal: AbortSignal): Checkout {
  const what = `ask git about ${root}`
  /**
   * Queries git without rewriting the index. Returns undefined if git finds nothing: an error without text, or a text
   * that matches `absent`.
   */
  const ask = async (words: readonly string[], absent?: RegExp): Promise<string | undefined> => {
    const argv = ['git', '-C', root, ...words]
    const result = await local.run(argv, {
      signal,
      timeoutMs: askMs,
      what,
      env: { LC_ALL: 'C', GIT_OPTIONAL_LOCKS: '0' },
    })
    if (result.kind === 'exited' && result.code === 0) return result.stdout
    if (absent?.test(result.stderr) === true || (absent !== undefined && result.stderr.trim() === ''))
      return undefined
    throw failure('GIT', `cannot ${what}: ${describeEnd(result)}`, { detail: lastLines(result.stderr, 5) })
  }
  return {
    async tracked(files) {
      return lines(await ask(['--literal-pathspecs', 'ls-files', '-z', '--', ...files]))
    },
    async uncommitted() {
      const said = (await ask(['status', '--porcelain', '--untracked-files=no'])) ?? ''
      return said.split('\n').filter((line) => line !== '').length
    },
    async untracked(folder) {
      return lines(await ask(['ls-files', '--others', '--exclude-standard', '-z', '--', folder])).length
    },
    async unpushed() {
      const said = await ask(['rev-list', '--count', '@{upstream}..HEAD'], noUpstream)
      return Number(said?.trim() ?? 0)
    },
    async origin() {
      const url = (await ask(['config', '--get', 'remote.origin.url'], /^$/))?.trim()
      if (url === undefined || url === '') return undefined
      refuseSecret('network', url)
      const branch = (await ask(['symbolic-ref', '--quiet', '--short', 'HEAD'], /^$/))?.trim()
      return branch === undefined ? url : `${url} ${branch}`
    },
  }
}

function lines(text = ''): string[] {
  return text.split('\0').filter((line) => line !== '')
}

/**
 * Refuses an address with a secret, because everybody can read an input of Hydra. An ssh user name is not a secret.
 */
export function refuseSecret(input: string, value: string): void {
  const [, scheme = '', authority = '', rest = ''] =
    /^\s*([a-z0-9+.-]+):\/\/([^/?#\s]*)(\S*)/i.exec(value) ?? []
  const user = authority.slice(0, Math.max(0, authority.lastIndexOf('@')))
  const isOpen = /ssh/i.test(scheme) && !user.includes(':')
  if ((user === '' || isOpen) && !rest.includes('?')) return
  throw usageError(
    `the address of the input '${input}' holds a user, a password or a token, which everybody could read in Hydra`,
    { hint: `give an address without user, password and token: --${flagOf[input] ?? input} "URL BRANCH"` },
  )
}

const flagOf: Readonly<Record<string, string>> = { network: 'repository' }

import { describeEnd, lastLines } from '../../core/command-result.js'
import type { LocalCommands } from '../../core/context.js'
import { failure, usageError } from '../../core/errors.js'

const askMs = 60_000

/** Git's answers about one checkout. */
export interface Checkout {
  /** Returns the number of files whose content is not committed, untracked ones included. */
  uncommitted(): Promise<number>
  /** Returns the URL of the remote `origin` and the branch, as an input of Hydra names both. */
  origin(): Promise<string | undefined>
}

export function checkoutAt(local: Pick<LocalCommands, 'run'>, root: string, signal: AbortSignal): Checkout {
  const what = `ask git about ${root}`
  /** Returns undefined where git has no answer (exit status 1 or 2, or 128 with that text). */
  const ask = async (words: readonly string[], absent?: RegExp): Promise<string | undefined> => {
    const argv = ['git', '-C', root, ...words]
    const result = await local.run(argv, { signal, timeoutMs: askMs, what, env: { LC_ALL: 'C' } })
    if (result.kind === 'exited' && result.code === 0) return result.stdout
    if (absent?.test(result.stderr) === true || (absent !== undefined && result.stderr.trim() === ''))
      return undefined
    throw failure('GIT', `cannot ${what}: ${describeEnd(result)}`, { detail: lastLines(result.stderr, 5) })
  }
  return {
    async uncommitted() {
      const said = (await ask(['status', '--porcelain', '--untracked-files=normal'])) ?? ''
      return said.split('\n').filter((line) => line !== '').length
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

/** Refuses an address with a secret, because everybody can read an input of Hydra. The user of ssh is no secret. */
export function refuseSecret(input: string, value: string): void {
  const [, scheme = '', authority = '', rest = ''] =
    /^\s*([a-z0-9+.-]+):\/\/([^/?#\s]*)(\S*)/i.exec(value) ?? []
  const user = authority.slice(0, Math.max(0, authority.lastIndexOf('@')))
  const isOpen = /ssh/i.test(scheme) && !user.includes(':')
  if ((user === '' || isOpen) && !rest.includes('?')) return
  throw usageError(
    `the address of the input '${input}' holds a user, a password or a token, which everybody could read in Hydra`,
    { hint: `give an address without them: --${flagOf[input] ?? input} "URL BRANCH"` },
  )
}

const flagOf: Readonly<Record<string, string>> = { network: 'repository' }

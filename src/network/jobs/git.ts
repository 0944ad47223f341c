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
      refuseSecret(url)
      const branch = (await ask(['symbolic-ref', '--quiet', '--short', 'HEAD'], /^$/))?.trim()
      return branch === undefined ? url : `${url} ${branch}`
    },
  }
}

/**
 * Refuses a URL with a password, because everybody can read an input of Hydra. The user of a web address may be a token.
 */
export function refuseSecret(value: string): void {
  if (!/^(?:[a-z+]+:\/\/[^/@\s]*:|https?:\/\/)[^/@\s]*@/i.test(value)) return
  throw usageError('the URL of the repository holds a login, which everybody could read in Hydra', {
    hint: 'give a URL without user and password: --repository "URL BRANCH"',
  })
}

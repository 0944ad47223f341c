import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { failure, throwIfAborted } from '../core/errors.js'
import type { Run } from '../core/run.js'
import { shellQuote } from '../core/shell-quote.js'

/** The longest wait: long enough for a whole build by another process. */
const deadlineMs = 30 * 60_000

/** The wait after which the log mentions the other process. */
const patienceMs = 500

/**
 * Runs `action` as the only process that builds images below this root. A child that ends with this process holds the
 * kernel's lock (`flock`), so a killed process leaves no lock behind.
 */
export async function exclusively<T>(
  local: Pick<LocalCommands, 'spawnDuplex'>,
  root: string,
  run: Run,
  action: () => Promise<T>,
): Promise<T> {
  mkdirSync(root, { recursive: true, mode: 0o700 })
  const what = 'wait for another hydra-ops process that builds an image'
  const file = join(root, '.lock')
  const holder = local.spawnDuplex(['flock', file, 'sh', '-c', 'echo locked; exec cat >/dev/null'], {
    signal: run.signal,
    what,
  })
  try {
    await new Promise<void>((resolve, reject) => {
      const waiting = setTimeout(
        () => run.log('waiting for another hydra-ops process, which builds an image'),
        patienceMs,
      )
      const deadline = setTimeout(() => {
        reject(
          failure(
            'DEADLINE',
            `another hydra-ops process, which builds an image, still holds ${file} after ${deadlineMs / 60_000} minutes`,
            { hint: `fuser -v ${shellQuote(file)} shows the process` },
          ),
        )
      }, deadlineMs)
      const settle = (end: () => void) => {
        clearTimeout(waiting)
        clearTimeout(deadline)
        end()
      }
      holder.once('data', () => settle(resolve))
      holder.once('error', (error) => settle(() => reject(error)))
      holder.once('close', () => settle(() => reject(failure('IMAGE_LOCK', `cannot lock ${file}`))))
    })
    // The `finally` below ends the holder, so its later errors do not matter.
    holder.on('error', () => {})
    throwIfAborted(run.signal)
    return await action()
  } finally {
    holder.destroy()
  }
}

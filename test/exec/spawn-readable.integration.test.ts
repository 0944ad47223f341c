import { buffer, text } from 'node:stream/consumers'
import { expect, it } from 'vitest'
import { localCommands } from '../../src/exec/local-commands.js'

const options = { signal: new AbortController().signal, what: 'try' }

it('the stream hands out every byte and reports how the program ended', async () => {
  const script = 'head -c 3000000 /dev/zero; printf "\\377"; echo why >&2; exit 3'
  const { stdout, done } = localCommands.spawnReadable(['sh', '-c', script], options)
  const bytes = await buffer(stdout)
  expect(bytes.length).toBe(3_000_001)
  expect(bytes.at(-1)).toBe(255)
  expect(await done).toEqual({ kind: 'exited', code: 3, stdout: '', stderr: 'why' })
})

it('the stream ends the program when its reader stops', async () => {
  const { stdout, done } = localCommands.spawnReadable(['yes'], options)
  stdout.once('data', () => stdout.destroy())
  expect(await done).not.toMatchObject({ kind: 'exited', code: 0 })
})

it('the stream ends the program, and its children, on the signal', async () => {
  const controller = new AbortController()
  const { stdout, done } = localCommands.spawnReadable(['sh', '-c', 'echo begun; sleep 600 | cat'], {
    ...options,
    signal: controller.signal,
  })
  stdout.once('data', () => controller.abort())
  await expect(done).rejects.toMatchObject({ code: 'INTERRUPTED' })
})

it('the stream names a missing program', async () => {
  const { stdout, done } = localCommands.spawnReadable(['no-such-program'], {
    ...options,
    // An unreadable folder on the tester's PATH would otherwise be the reported cause.
    env: { PATH: '/usr/bin:/bin' },
  })
  await expect(done).rejects.toThrow("try: the program 'no-such-program' is not installed")
  expect(await text(stdout)).toBe('')
})

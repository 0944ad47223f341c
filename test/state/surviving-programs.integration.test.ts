import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { z } from 'zod'
import { startStoreProcess } from './processes.js'
import { createLab, errorOf, operator, storeIn, temporaryFolder, temporaryStore } from './temporary-store.js'

const here = { ...operator, host: hostname() }

/** A program that makes its change only after a write to its FIFO. */
const slowChange = `#!/bin/sh
echo $$
read -r word < "$1/go"
echo "$word" > "$1/changed"
`

/** A program that ends, and leaves a daemon with the same environment in a new session. */
const daemonStarter = `#!/bin/sh
setsid sh -c 'echo $$ > "$1/draft"; mv "$1/draft" "$1/pid"; read -r word < "$1/go"' sh "$1" > "$1/log" 2>&1 &
while [ ! -e "$1/pid" ]; do sleep 0.05; done
cat "$1/pid"
`

/** Starts a process that runs a program under the lock of a deployment. */
async function holderWith(text: string) {
  const store = await temporaryStore({ operator: here })
  const { uuid } = await createLab(store)
  const folder = temporaryFolder()
  const file = join(folder, 'slow-change')
  const fifo = join(folder, 'go')
  writeFileSync(file, text)
  chmodSync(file, 0o755)
  execFileSync('mkfifo', [fifo])
  const holder = startStoreProcess('holdWithProgram', store.root, uuid, file, folder)
  const pid = z.number().parse(Number(await holder.said()))
  onTestFinished(() => {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // The program has ended.
    }
  })
  return {
    holder,
    root: store.root,
    uuid,
    pid,
    changed: () => existsSync(join(folder, 'changed')),
    goOn: () => writeFile(fifo, 'go\n'),
  }
}

/** Leaves the lock of a killed process on a deployment, and the program that the process had started. */
async function killedHolder(
  text: string,
  when: 'while the program runs' | 'after the program' = 'while the program runs',
) {
  const { holder, ...started } = await holderWith(text)
  if (when === 'after the program') expect(await holder.said()).toBe('ended')
  holder.child.kill('SIGKILL')
  expect(await holder.ended()).toMatchObject({ signal: 'SIGKILL' })
  return started
}

/** Opens the store as the next process would. `noticed` resolves with the first notice about a wait. */
async function nextProcess(root: string, more: { signal?: AbortSignal; survivorsMs?: number } = {}) {
  const notices: string[] = []
  let tell: (text: string) => void = () => {}
  const noticed = new Promise<string>((resolve) => {
    tell = resolve
  })
  const onWait = (text: string) => {
    notices.push(text)
    tell(text)
  }
  return { store: await storeIn(root, { operator: here, onWait, ...more }), notices, noticed }
}

describe('the lock of a killed process whose program still runs', () => {
  it('is taken over only after that program has ended, and the wait names the program', async () => {
    const { root, uuid, pid, changed, goOn } = await killedHolder(slowChange)
    const { store, notices, noticed } = await nextProcess(root)
    const taken = store.lock(uuid, async () => changed())
    await Promise.race([noticed, taken])
    await goOn()
    expect(await taken).toBe(true)
    expect(notices).toEqual([
      `waiting for slow-change (pid ${pid}), which a killed command started: store-process holdWithProgram`,
    ])
  })

  it('is waited for again after the next process gave up', async () => {
    const { root, uuid, pid, changed, goOn } = await killedHolder(slowChange)
    const cancel = new AbortController()
    const first = await nextProcess(root, { signal: cancel.signal })
    const given = errorOf(() => first.store.lock(uuid, async () => 'ours'))
    await Promise.race([first.noticed, given])
    cancel.abort()
    expect(await given).toMatchObject({ code: 'INTERRUPTED' })

    const hasty = await nextProcess(root, { survivorsMs: 0 })
    expect(await errorOf(() => hasty.store.lock(uuid, async () => 'ours'))).toMatchObject({
      exitCode: 5,
      message:
        `deployment 'lab' is still being changed by slow-change (pid ${pid}), which a killed command started: ` +
        'store-process holdWithProgram (waited 0 s)',
      hint: `wait until that program ends, or run: kill ${pid}; then try again`,
    })

    const last = await nextProcess(root)
    const taken = last.store.lock(uuid, async () => changed())
    await Promise.race([last.noticed, taken])
    await goOn()
    expect(await taken).toBe(true)
  })

  it('delays no other deployment', async () => {
    const { root } = await killedHolder(slowChange)
    const { store, notices } = await nextProcess(root)
    const { uuid } = await createLab(store, 'other')
    expect(await store.lock(uuid, async () => 'ours')).toBe('ours')
    expect(notices).toEqual([])
  })
})

describe('the lock of a killed process whose program has ended', () => {
  it('is taken over at once, although a daemon of that program runs on with its environment', async () => {
    const { root, uuid, pid } = await killedHolder(daemonStarter, 'after the program')
    expect(readFileSync(`/proc/${pid}/environ`, 'utf8')).toContain('HYDRA_OPS_STARTED_BY=')
    const { store, notices } = await nextProcess(root, { survivorsMs: 0 })
    expect(await store.lock(uuid, async () => 'ours')).toBe('ours')
    expect(notices).toEqual([])
  })
})

describe('the lock of a living process that runs a program', () => {
  it('stays refused at once', async () => {
    const { root, uuid } = await holderWith(slowChange)
    const { store, notices } = await nextProcess(root)
    expect(await errorOf(() => store.lock(uuid, async () => 'ours'))).toMatchObject({
      message: expect.stringMatching(/^deployment 'lab' is locked by bob@/),
    })
    expect(notices).toEqual([])
  })
})

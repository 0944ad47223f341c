import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refuseTakenPort } from '../../src/remote/taken-port.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { taskRun } from '../fakes/task-run.js'

/** A run whose real `ss` inspects a port of this process. */
const run = taskRun()
const unit = 'nix-serve.service'
const hint = 'stop it'
let server: Server
let port: number
let root: string

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), 'ho-port-'))
  server = createServer()
  port = await listening(server)
})
afterAll(() => {
  server.close()
  rmSync(root, { recursive: true, force: true })
})

function listening(on: Server): Promise<number> {
  return new Promise((resolve) => {
    on.listen(0, '127.0.0.1', () => {
      const address = on.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
}

/** Creates a machine whose kernel reports this control group for this process. */
function inGroup(path: string): LocalShellHost {
  const processes = mkdtempSync(join(root, 'proc-'))
  mkdirSync(join(processes, String(process.pid)))
  writeFileSync(join(processes, String(process.pid), 'cgroup'), `0::${path}\n`)
  return new LocalShellHost({ moved: { '/proc': processes } })
}

describe('a port that a service needs', () => {
  it('is refused with the name and number of the process that holds it', async () => {
    const taken = refuseTakenPort(new LocalShellHost(), { port, unit, hint }, run)
    await expect(taken).rejects.toMatchObject({
      code: 'PORT_TAKEN',
      message: `machine 'local': port ${port} is taken by ${basename(process.title.split(' ')[0] ?? '')} (process ${process.pid})`,
      hint,
    })
  })

  it('is taken although the unit is active, when the process does not belong to the unit', async () => {
    for (const group of ['/user.slice', '/system.slice/other-nix-serve.service'])
      await expect(refuseTakenPort(inGroup(group), { port, unit, hint }, run)).rejects.toThrow('is taken by')
  })

  it('is its own when the process belongs to the unit', async () => {
    for (const group of [`/system.slice/${unit}`, `/system.slice/${unit}/worker`])
      await refuseTakenPort(inGroup(group), { port, unit, hint }, run)
  })

  it('is free without a listener', async () => {
    const other = createServer()
    const free = await listening(other)
    await new Promise((resolve) => other.close(resolve))
    await refuseTakenPort(new LocalShellHost(), { port: free, unit, hint }, run)
  })
})

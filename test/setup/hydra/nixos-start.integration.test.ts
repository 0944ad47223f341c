import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { NixosOptions } from '../../../src/core/nixos-options.js'
import { bindTask, type TaskMachine, type TaskRun } from '../../../src/core/setup-task.js'
import { adminUserTask } from '../../../src/setup/hydra/web-users-task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'

/** The root of a machine whose Hydra is started by NixOS, and a server in place of hydra-server and nginx. */
let root: string
let host: LocalShellHost
let server: Server
let port: number
let requests: string[]

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'ho-start-'))
  mkdirSync(join(root, 'bin'))
  writeFileSync(join(root, 'bin/journalctl'), '#!/bin/sh\necho "-- cursor: s=1"\n', { mode: 0o755 })
  systemctlSays('loaded')
  host = new LocalShellHost({ bin: join(root, 'bin') })
  port = await freePort()
  requests = []
})
afterEach(() => {
  server.close()
  rmSync(root, { recursive: true, force: true })
})

/** Lets systemd answer the question whether it has a unit. */
function systemctlSays(state: string): void {
  writeFileSync(join(root, 'bin/systemctl'), `#!/bin/sh\necho ${state}\n`, { mode: 0o755 })
}

function nixosMachine(hydra: Record<string, unknown>): TaskMachine {
  const {
    files: _files,
    units: _units,
    packageCount: _count,
    hasActivate: _has,
    ...rest
  } = taskMachine().definition as Extract<TaskMachine['definition'], { os: 'debian' }>
  const definition = { ...rest, os: 'nixos', options: NixosOptions.parse({ hydra }) } as const
  return { ...taskMachine(), definition }
}

/** Answers as nginx does before hydra-server listens, then as Hydra. */
function listen(early: number): Promise<void> {
  server = createServer(({ method, url }, response) => {
    requests.push(`${method} ${url}`)
    if (requests.length <= early) response.writeHead(502).end()
    else if (url === '/login')
      response.writeHead(302, { 'set-cookie': 'hydra_session=1', location: '/current-user' }).end()
    else if (url === '/current-user')
      response.end(JSON.stringify({ username: 'alice', userroles: ['admin'] }))
    else response.end()
  })
  return new Promise((resolve) => server.listen(port, '127.0.0.1', resolve))
}

const admin = { userName: 'alice', password: { generate: true } }
const wanted = (more: Record<string, unknown> = {}) =>
  bindTask(adminUserTask)(nixosMachine({ enable: true, port, admin, ...more }))

async function verify(run: TaskRun): Promise<void> {
  await wanted()?.verify(host, run)
}

it('a task on NixOS waits for the first answer of a Hydra that NixOS starts', async () => {
  await listen(2)
  const run = taskRun({ 'hydra-user-alice': 'hunter2' })
  await verify(run)
  expect(requests).toEqual(['GET /', 'GET /', 'GET /', 'POST /login', 'GET /current-user'])
  expect(run.lines).toEqual([
    `waiting until Hydra answers at http://web:${port}: GET / answers with status 502`,
  ])
})

it('a task on NixOS logs in at once where Hydra answers', async () => {
  await listen(0)
  await verify(taskRun({ 'hydra-user-alice': 'hunter2' }))
  expect(requests).toEqual(['GET /', 'POST /login', 'GET /current-user'])
})

it('a task on NixOS does not wait where the running system has no Hydra, as after the boot that follows a failed deploy', async () => {
  server = createServer()
  systemctlSays('not-found')
  await expect(verify(taskRun({ 'hydra-user-alice': 'hunter2' }))).rejects.toMatchObject({
    code: 'NO_UNIT',
    message: "machine 'local': the running system has no hydra-server.service",
    hint: expect.stringContaining('hydra-ops deploy'),
  })
})

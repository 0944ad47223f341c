import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import { WebSession } from '../../../src/setup/hydra/web-session.js'
import { FakeHydraWeb } from '../../fakes/fake-hydra-web.js'
import { taskRun } from '../../fakes/task-run.js'

const machine = MachineName.parse('ci')
const sso = 'https://sso.example.org/'
let web: FakeHydraWeb
let port: number

beforeEach(async () => {
  web = new FakeHydraWeb()
  port = await web.listen()
  web.users.set('alice', { password: 'pässword "quoted" \\ $(x)', roles: ['admin'] })
})
afterEach(() => web.close())

const session = (url = `http://127.0.0.1:${port}`) =>
  new WebSession({ url, port, encrypted: false, headers: {} }, taskRun())

describe('a login to Hydra', () => {
  it('shows the user’s name there', async () => {
    const alice = session()
    await alice.login(machine, 'alice', 'pässword "quoted" \\ $(x)')
    expect(await alice.currentUser(machine)).toEqual({ username: 'alice', userroles: ['admin'] })
  })

  it('goes to the published name whatever the port is called', async () => {
    const alice = session('http://hydra.example.org:28080')
    await alice.login(machine, 'alice', 'pässword "quoted" \\ $(x)')
    expect((await alice.currentUser(machine)).username).toBe('alice')
  })

  it('gives the reason, without the password, when it is refused', async () => {
    const error = await session()
      .login(machine, 'alice', 'hunter2')
      .catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({
      message: expect.stringMatching(
        /user 'alice' cannot log in at .*: status 403, Bad username or password\./,
      ),
    })
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  })

  it('does not count as one when nobody is signed in', async () => {
    await expect(session().currentUser(machine)).rejects.toThrow('This page requires you to sign in.')
  })

  it.each([
    ['a redirect to another host', 302, 'status 302, a redirect to https://sso.example.org/'],
    ['a page of HTML', 200, 'status 200'],
    ['a page of HTML about an error', 500, 'status 500'],
  ])('is refused by %s, also with a cookie of another program', async (_, status, words) => {
    const proxy = createServer((__, response) =>
      response
        .writeHead(status, { 'set-cookie': 'sso=1', ...(status === 302 ? { location: sso } : {}) })
        .end('<html>welcome</html>'),
    )
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
    port = (proxy.address() as AddressInfo).port
    const url = `http://127.0.0.1:${port}`
    try {
      await expect(session().login(machine, 'alice', 'hunter2')).rejects.toMatchObject({
        code: 'LOGIN',
        message: `machine 'ci': user 'alice' cannot log in at ${url}: ${words}`,
      })
    } finally {
      await new Promise((resolve) => proxy.close(resolve))
    }
  })

  it('says what it waits for, and ends in one sentence that names the request', async () => {
    const silent = createServer(() => {})
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    port = (silent.address() as AddressInfo).port
    const url = `http://127.0.0.1:${port}`
    const run = taskRun()
    const entrance = { url, port, encrypted: false, headers: {} }
    try {
      const late = new WebSession(entrance, run, { timeoutMs: 400, quietMs: 20 })
      await expect(late.login(machine, 'alice', 'hunter2')).rejects.toMatchObject({
        code: 'HYDRA_DOWN',
        message: `Hydra at ${url} does not answer POST /login: no answer within 0.4 s`,
      })
      expect(run.lines).toEqual([
        `waiting for Hydra at ${url}, which has not answered POST /login yet (at most 0.4 s)`,
      ])
    } finally {
      silent.closeAllConnections()
      await new Promise((resolve) => silent.close(resolve))
    }
  })

  it('names a wrong port in one sentence', async () => {
    await web.close()
    await expect(session().login(machine, 'alice', 'x')).rejects.toThrow(/ECONNREFUSED/)
    web = new FakeHydraWeb()
    await web.listen()
  })
})

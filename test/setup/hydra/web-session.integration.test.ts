import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { MachineName } from '../../../src/core/names.js'
import { WebSession } from '../../../src/setup/hydra/web-session.js'
import { FakeHydraWeb } from '../../fakes/fake-hydra-web.js'
import { taskRun } from '../../fakes/task-run.js'

const machine = MachineName.parse('ci')
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

  it('names a wrong port in one sentence', async () => {
    await web.close()
    await expect(session().login(machine, 'alice', 'x')).rejects.toThrow(/ECONNREFUSED/)
    web = new FakeHydraWeb()
    await web.listen()
  })
})

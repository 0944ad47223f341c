import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FakeHydraWeb } from '../fakes/fake-hydra-web.js'
import { createFakeOps, type FakeOps } from '../fakes/fake-ops.js'
import { runCli } from './run-cli.js'

let ops: FakeOps
let web: FakeHydraWeb
let url: string
let file: string

beforeEach(async () => {
  ops = await createFakeOps()
  web = new FakeHydraWeb()
  url = `http://127.0.0.1:${await web.listen()}`
  web.users.set('alice', { password: 'right', roles: ['admin'] })
  web.jobsets.set('/jobset/infra/main', {})
  file = join(ops.folder, 'alice.password')
  writeFileSync(file, 'right\n', { mode: 0o600 })
})
afterEach(async () => {
  await web.close()
  ops.cleanup()
})

const change = (...argv: string[]) => runCli(['hydra', ...argv, '--url', url], { ops })

const asAlice = () => ['--user', 'alice', '--password-file', file]

describe('a change of Hydra', () => {
  it('asks for an evaluation as a user, whose password stays out of every message', async () => {
    const { code, stderr } = await change('eval', 'infra:main', ...asAlice())
    expect([code, stderr]).toEqual([0, expect.stringContaining('Hydra evaluates infra:main')])
    expect(web.requests).toEqual(['POST /login', 'POST /api/push?jobsets=infra:main&force=1'])
    writeFileSync(file, 'wrong-one\n')
    const refused = await change('eval', 'infra:main', ...asAlice())
    expect(refused.code).toBe(1)
    expect(refused.stderr).toContain("user 'alice' cannot log in")
    expect(refused.stderr).not.toContain('wrong-one')
  })

  it('needs a user, and one source of the password', async () => {
    expect((await change('restart', '7')).stderr).toContain('this command needs a user of Hydra')
    expect(
      (await change('cancel', '7', '--user', 'a', '--password-stdin', '--password-file', file)).stderr,
    ).toContain('choose one source of the password: --password-file or --password-stdin')
    expect((await change('eval', 'infra', '--user', 'alice', '--password-file', file)).stderr).toContain(
      "'infra' is not a jobset",
    )
    expect(web.requests).toEqual([])
  })

  it.each([
    ['restart', 'build 7 is queued again'],
    ['cancel', 'build 7 is cancelled'],
  ] as const)('can %s a build, which Hydra answers with a redirect to the build', async (verb, words) => {
    web.builds.add(7)
    const { code, stdout, stderr } = await change(verb, '7', ...asAlice())
    expect([code, stdout, stderr]).toEqual([0, '', expect.stringContaining(words)])
    expect(web.requests).toEqual(['POST /login', `GET /build/7/${verb}`])
  })

  it.each(['restart', 'cancel'] as const)(
    'is refused in one sentence for a user who may not %s a build',
    async (verb) => {
      web.builds.add(7)
      web.users.set('alice', { password: 'right', roles: [] })
      const { code, stdout, stderr } = await change(verb, '7', ...asAlice())
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toMatch(
        new RegExp(
          `^error: Hydra at ${url} refuses /build/7/${verb}: status 403, Only the project members.*\nhint: the user needs a role.*\n$`,
        ),
      )
    },
  )
})

import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ProjectsApi } from '../../../src/setup/hydra/projects-api.js'
import { WebSession } from '../../../src/setup/hydra/web-session.js'
import { taskRun } from '../../fakes/task-run.js'

let server: Server
let answer: { status: number; headers?: Record<string, string>; body: string }
let asked: string[]
let api: ProjectsApi

beforeEach(async () => {
  asked = []
  server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    response.writeHead(answer.status, answer.headers)
    response.end(answer.body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const entrance = { url: `http://127.0.0.1:${port}`, port, encrypted: false, headers: {} }
  api = new ProjectsApi('ci', new WebSession(entrance, taskRun()))
})
afterEach(() => new Promise((resolve) => server.close(resolve)))

const project = {
  ...{ name: 'p', displayName: 'P', description: '', homepage: '', owner: 'alice', enabled: true },
  ...{ hidden: false, private: false, dynamicRunCommand: false, declarative: undefined },
}

describe('a Hydra that fails', () => {
  it.each<[string, typeof answer, RegExp]>([
    ['HTML with status 200', { status: 200, body: '<html>Welcome to nginx</html>' }, /unexpected form/],
    ['JSON of another kind', { status: 200, body: '{"hello":"world"}' }, /unexpected form/],
    ['HTML with status 500', { status: 500, body: '<html>oops</html>' }, /project 'p': status 500$/],
    ['a bad gateway', { status: 502, body: '<html>502</html>' }, /status 502$/],
    [
      'an error in JSON',
      { status: 500, body: '{"error":"DBI Exception: gone\\nmore"}' },
      /status 500, DBI Exception: gone$/,
    ],
    ['a closed door', { status: 403, body: '{"error":"This page requires you to sign in."}' }, /sign in\.$/],
    [
      'another host',
      { status: 302, headers: { location: 'http://other.example.org/' }, body: '' },
      /status 302, a redirect to http:\/\/other\.example\.org\/$/,
    ],
  ])('is reported in one sentence when it answers with %s', async (_, given, text) => {
    answer = given
    await expect(api.readProject('p')).rejects.toMatchObject({
      code: 'HYDRA_API',
      message: expect.stringMatching(text),
    })
    expect(asked).toEqual(['GET /project/p'])
  })

  it('is reported when it does not accept a change', async () => {
    answer = { status: 500, body: '{"error":"You must specify a display name."}' }
    await expect(api.writeProject(project)).rejects.toThrow(
      "machine 'ci': Hydra does not let hydra-ops change project 'p': status 500, You must specify a display name.",
    )
  })

  it('is reported when nothing listens', async () => {
    await new Promise((resolve) => server.close(resolve))
    await expect(api.readJobset('p', 'j')).rejects.toMatchObject({
      code: 'HYDRA_DOWN',
      message: expect.stringMatching(
        /^Hydra at http:\/\/127\.0\.0\.1:\d+ does not answer GET \/jobset\/p\/j: .*ECONNREFUSED/,
      ),
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  })
})

describe('something that is gone', () => {
  it('reads as absent, also under a name that now leads elsewhere', async () => {
    answer = { status: 404, body: '{"error":"Project ‘p’ doesn\'t exist."}' }
    expect(await api.readProject('p')).toBeUndefined()
    answer = { status: 301, headers: { location: '/jobset/p/renamed' }, body: '<html/>' }
    expect(await api.readJobset('p', 'j')).toBeUndefined()
  })

  it('is removed already', async () => {
    answer = { status: 404, body: '{"error":"Jobset ‘j’ doesn\'t exist."}' }
    await expect(api.removeJobset('p', 'j')).resolves.toBeUndefined()
    await expect(api.writeProject(project)).rejects.toThrow(/status 404/)
  })
})

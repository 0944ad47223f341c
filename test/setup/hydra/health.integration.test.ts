import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { webProblem } from '../../../src/setup/hydra/health.js'
import { type HydraSettings, hydraSettings } from '../../../src/setup/hydra/settings.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'

let server: Server | undefined

afterEach(() => server?.close())

function settings(hydra: Record<string, unknown>): HydraSettings {
  const found = hydraSettings(taskMachine({ hydra: { enable: true, ...hydra } }))
  if (found === undefined) throw new Error('no Hydra is wanted')
  return found
}

/** A web server that answers all with one status. */
async function web(address: string, status: number): Promise<number> {
  const listening = createServer((_, response) => response.writeHead(status).end())
  server = listening
  await new Promise<void>((resolve) => listening.listen(0, address, resolve))
  return (listening.address() as AddressInfo).port
}

describe('hydra-server', () => {
  it.each<[number, string | undefined]>([
    [200, undefined],
    // Shows nothing to strangers: `private = 1` in hydra.conf.
    [403, undefined],
    [500, 'it answers with status 500'],
  ])('that answers with %i: %s', async (status, wrong) => {
    const port = await web('127.0.0.1', status)
    expect(await webProblem(settings({ port }), taskRun())).toBe(wrong)
  })

  it('is asked where it listens', async () => {
    const port = await web('127.0.0.2', 200)
    expect(await webProblem(settings({ port, listenHost: '127.0.0.2' }), taskRun())).toBeUndefined()
    await expect(webProblem(settings({ port }), taskRun())).rejects.toThrow('ECONNREFUSED')
  })
})

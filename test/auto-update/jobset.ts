import { createServer, type RequestListener, type Server } from 'node:http'
import type { ModelEvaluation } from '../fakes/model-hydra.js'

export const now = Math.floor(Date.now() / 1000)
/** Time of the operator's deploy, before every evaluation. */
export const deployed = now - 100_000

/** Creates an evaluation of the jobset; `gate` is the status of its gate. */
export function evaluation(id: number, path: string | null, gate: number | undefined = 0): ModelEvaluation {
  return {
    id,
    timestamp: deployed + id,
    jobs: {
      web: { id: id * 10, status: 0, path },
      db: { id: id * 10 + 1, status: 0 },
      release: { id: id * 10 + 2, parts: ['web', 'db'], ...(gate === undefined ? {} : { status: gate }) },
    },
  }
}

const servers: Server[] = []

/** Starts a server that is not a Hydra. */
export async function listen(answer: RequestListener): Promise<string> {
  const started = createServer(answer)
  servers.push(started)
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve))
  const address = started.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  return `http://127.0.0.1:${address.port}`
}

/** Stops the servers of a test. */
export function endServers(): void {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
}

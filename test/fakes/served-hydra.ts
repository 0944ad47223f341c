import { createServer } from 'node:http'
import { type ModelEvaluation, ModelHydra } from './model-hydra.js'

/** A modelled Hydra on a port of this host. */
export interface ServedHydra {
  readonly model: ModelHydra
  close(): Promise<void>
}

export async function serveHydra(evaluations: readonly ModelEvaluation[]): Promise<ServedHydra> {
  let model: ModelHydra | undefined
  const server = createServer(({ method = '', url = '' }, response) => {
    void model?.request(method, url).then(({ status, headers, body }) => {
      response.writeHead(status, headers).end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server has no port')
  model = new ModelHydra(evaluations, `http://127.0.0.1:${address.port}`)
  return {
    model,
    close() {
      server.closeAllConnections()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

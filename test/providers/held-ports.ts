import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { afterEach } from 'vitest'

/** Returns a function that holds a port of 127.0.0.1, as another program would, until the test ends. */
export function portHolder(): (port: number) => Promise<void> {
  const servers: Server[] = []
  afterEach(() => {
    for (const server of servers.splice(0)) server.close()
  })
  return async (port) => {
    const server = createServer()
    servers.push(server)
    await once(server.listen(port, '127.0.0.1'), 'listening')
  }
}

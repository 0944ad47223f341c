import { type HttpAnswer, httpAnswer } from '../../core/http-request.js'
import type { TaskRun } from '../../core/setup-task.js'
import { HydraSession } from '../../hydra/session.js'
import type { WebEntrance } from './settings.js'

const requestMs = 120_000

/** A session through the machine's entrance for users. */
export class WebSession extends HydraSession {
  constructor(entrance: WebEntrance, run: TaskRun) {
    super(entrance.url, (request) => askEntrance(entrance, run, { ...request, timeoutMs: requestMs }))
  }
}

interface EntranceRequest {
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly timeoutMs: number
}

/**
 * Asks the machine for a page that users open. A foreign proxy in front of the machine may decrypt. The request then
 * looks like a request from that proxy: plain, with the host of the URL.
 */
export function askEntrance(
  { url, port, encrypted, headers }: WebEntrance,
  run: TaskRun,
  request: EntranceRequest,
): Promise<HttpAnswer> {
  const { path, ...rest } = request
  const { host } = new URL(url)
  return httpAnswer({
    ...rest,
    url: `${encrypted ? 'https' : 'http'}://${host}${path}`,
    headers: { host, ...headers, ...request.headers },
    // The check is about Hydra, and the options allow a self-signed certificate. The connection goes through ssh, or to
    // a port of this host.
    checkCertificate: false,
    connect: (bounds) => run.connect(port, bounds),
    signal: run.signal,
  })
}

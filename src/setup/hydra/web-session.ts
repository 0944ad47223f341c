import { EndedEarly, type HttpAnswer, httpAnswer } from '../../core/http-request.js'
import type { TaskRun } from '../../core/setup-task.js'
import { sayingWhenSlow } from '../../core/slow-wait.js'
import { noAnswer } from '../../hydra/api.js'
import { HydraSession } from '../../hydra/session.js'
import { quietMs, waitingFor } from '../../hydra/way.js'
import type { WebEntrance } from './settings.js'

/** Time limits for one answer. */
export interface AnswerPace {
  readonly timeoutMs: number
  /** Time after which the wait is reported. */
  readonly quietMs: number
}

const usualPace: AnswerPace = { timeoutMs: 120_000, quietMs }

/** A session at the URL that users open. The error of a lost or late answer names the request. */
export class WebSession extends HydraSession {
  constructor(entrance: WebEntrance, run: TaskRun, pace = usualPace) {
    const { url } = entrance
    super(url, async (request) => {
      const { timeoutMs } = pace
      const what = `${request.method} ${request.path}`
      const answer = askEntrance(entrance, run, { ...request, timeoutMs })
      const say = () => run.log(waitingFor(url, what, timeoutMs))
      try {
        return await sayingWhenSlow(answer, pace.quietMs, say)
      } catch (error) {
        // A caller that checks a cache judges an incomplete body itself.
        throw error instanceof EndedEarly ? error : noAnswer(url, what, error)
      }
    })
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
 * Requests a page from the machine, as users do. A user's own proxy in front of the machine may decrypt. The request
 * then looks like a request from that proxy: plain HTTP, with the host of the URL.
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
    // The check concerns Hydra, and the options allow a self-signed certificate. The connection goes through ssh, or
    // to a port of this host.
    checkCertificate: false,
    connect: (bounds) => run.connect(port, bounds),
    signal: run.signal,
  })
}

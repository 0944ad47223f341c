import type { TaskRun } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { waitUntil } from '../../remote/wait-until.js'
import { type WebEntrance, webEntrance } from '../hydra/settings.js'
import { askEntrance } from '../hydra/web-session.js'
import { askedNames } from './conflicts.js'
import { cacheNames, markPath, type SitePart, type SiteSettings, staticCachePath } from './site-text.js'

const answerMs = 60_000
const requestMs = 30_000

/** A URL, and the part of the site that must answer there. */
interface WayIn {
  readonly at: WebEntrance
  readonly part: SitePart
}

/** Lists all names at all ports of the site; the URL that users open comes first. */
function waysIn(settings: SiteSettings): WayIn[] {
  const opened = webEntrance(settings)
  const { hostname } = new URL(opened.url)
  const plain = (name: string) => ({ url: `http://${name}`, port: 80, encrypted: false, headers: {} })
  const secure = (name: string) => ({ url: `https://${name}`, port: 443, encrypted: true, headers: {} })
  const names = askedNames(settings)
  const further = names.filter((name) => name !== hostname)
  const always: WayIn[] = [
    { at: opened, part: 'hydra' },
    ...further.map((name): WayIn => ({ at: (opened.encrypted ? secure : plain)(name), part: 'hydra' })),
    ...cacheNames(settings).map((name): WayIn => ({ at: plain(name), part: 'cache' })),
  ]
  if (!opened.encrypted) return always
  return [
    ...always,
    ...names.map((name): WayIn => ({ at: plain(name), part: 'plain' })),
    ...cacheNames(settings).map((name): WayIn => ({ at: secure(name), part: 'cache' })),
  ]
}

/** Proves by the marks that each name leads to the right part of the site. Checks Hydra and the cache, too. */
export async function proveSite(
  host: Host,
  settings: SiteSettings,
  marks: Readonly<Record<SitePart, string>>,
  run: TaskRun,
): Promise<void> {
  const { url, options } = settings
  const ways = waysIn(settings)
  const entrance = webEntrance(settings)
  const get = (path: string, at = entrance) => askEntrance(at, run, { path, timeoutMs: requestMs })
  await waitUntil(host.machine, run, {
    what: `nginx answers at ${url}`,
    deadlineMs: answerMs,
    hint: 'nginx -T on the machine shows all of its sites; journalctl -u nginx shows more',
    wrong: async () => {
      for (const { at, part } of ways) {
        const { headers, body } = await get(markPath, at)
        if (!String(headers.server).startsWith('nginx')) return 'another program answers at this address'
        if (body !== marks[part]) return `another site of nginx answers at ${at.url}`
      }
      const { status } = await get('/')
      // Hydra may still be starting, or may lack its package; Hydra's own task reports both.
      if (status >= 400 && !isStarting(status)) return `nginx answers with status ${status}`
      if (options.cache.enable) {
        const info = await get(`${staticCachePath}nix-cache-info`)
        if (info.status !== 200) return `${staticCachePath}nix-cache-info answers with status ${info.status}`
      }
      for (const { at, part } of ways) {
        const problem = part === 'cache' ? await cacheProblem(at) : undefined
        if (problem !== undefined) return `${at.url}/nix-cache-info ${problem}`
      }
      return undefined
    },
  })

  async function cacheProblem(at: WebEntrance): Promise<string | undefined> {
    const { status, body } = await get('/nix-cache-info', at)
    // nix-serve may still be starting too; its own task reports that.
    if (options.nixServe.enable && isStarting(status)) return undefined
    if (status !== 200) return `answers with status ${status}`
    return /^StoreDir: /m.test(body) ? undefined : 'has no StoreDir line'
  }
}

/** Says whether the status means that the service behind nginx is down, or does not answer in time. */
function isStarting(status: number): boolean {
  return status === 502 || status === 504
}

import { describe, expect, it } from 'vitest'
import { changeBuild, evaluateNow } from '../../src/hydra/changes.js'
import { readJobMetrics, scrapeConfig } from '../../src/hydra/metrics.js'
import type { HydraWay } from '../../src/hydra/way.js'
import { recordedWay } from './recorded-way.js'
import { readRecordings } from './recordings.js'

const main = { project: 'morph', jobset: 'main' }

/** Answers every request with one recording of a real Hydra. */
function answering(name: string): HydraWay & { readonly asked: string[] } {
  const found = readRecordings().get(name)
  if (found === undefined) throw new Error(`no recording ${name}`)
  const { status, headers, body } = found.response
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  const asked: string[] = []
  return {
    url: 'http://127.0.0.1:3001',
    asked,
    request: async (method, path) => {
      asked.push(`${method} ${path}`)
      return { status, headers, body: text, bytes: Buffer.from(text) }
    },
  }
}

describe('a request for an evaluation', () => {
  it('succeeds when Hydra lists the jobset, and asks even if nothing changed', async () => {
    const way = answering('api-push')
    await evaluateNow(way, main)
    expect(way.asked).toEqual(['POST /api/push?jobsets=morph:main&force=1'])
  })

  it.each([
    ['api-push-unknown-jobset', "Can't call method"],
    ['api-push-none', 'status 200'],
    ['api-push-no-origin', 'POST requests should come from'],
  ])('fails with the recorded answer %s, whatever its status is', async (name, words) => {
    const thrown = evaluateNow(answering(name), main)
    await expect(thrown).rejects.toThrow('Hydra at http://127.0.0.1:3001 does not evaluate morph:main: ')
    await expect(thrown).rejects.toThrow(words)
  })

  it.each(['api-push-anonymous', 'api-push-no-rights'])('says that a role is missing: %s', async (name) => {
    await expect(evaluateNow(answering(name), main)).rejects.toMatchObject({
      code: 'HYDRA_REFUSED',
      hint: expect.stringContaining('role'),
    })
  })
})

describe('a change of a build', () => {
  it('succeeds by Hydra’s redirect', async () => {
    const way = recordedWay('build-restart', 'build-cancel')
    await changeBuild(way, 'restart', 25)
    await changeBuild(way, 'cancel', 25)
    expect(way.asked).toEqual(['GET /build/25/restart', 'GET /build/25/cancel'])
  })

  it.each([
    [
      'a redirect to the login page of a proxy',
      302,
      { location: 'https://sso.example.org/' },
      'redirects to',
    ],
    ['a redirect to another page', 302, { location: '/login' }, 'status 302, a redirect to /login'],
    ['a page of HTML', 200, {}, 'refuses /build/25/restart: status 200'],
  ])('is not taken for done after %s', async (_, status, headers, words) => {
    const body = '<html>welcome</html>'
    const answer = { status, headers, body, bytes: Buffer.from(body) }
    const way = { url: 'http://127.0.0.1:3001', request: async () => answer }
    await expect(changeBuild(way, 'restart', 25)).rejects.toThrow(words)
  })

  it.each([
    [
      'restart',
      'build-restart-not-finished',
      'cannot restart build 25: status 500, This build cannot be restarted.',
    ],
    [
      'cancel',
      'build-cancel-finished',
      'cannot cancel build 25: status 500, This build cannot be cancelled.',
    ],
    ['restart', 'build-restart-no-rights', 'refuses /build/25/restart: status 403'],
    ['restart', 'build-404', 'has no build 25'],
  ] as const)('is refused: %s by the recorded %s', async (verb, name, words) => {
    await expect(changeBuild(answering(name), verb, 25)).rejects.toThrow(words)
  })
})

describe('the figures of a job', () => {
  const page = (name: string) => String(readRecordings().get(name)?.response.body)

  it('tell a success from a failure', () => {
    expect(readJobMetrics(page('job-prometheus'))).toEqual({ failed: false, completedAt: 1_700_007_270 })
    expect(readJobMetrics(page('job-prometheus-failed'))).toEqual({
      failed: true,
      completedAt: 1_700_000_070,
    })
    expect(readJobMetrics('<html>no figures</html>')).toBeUndefined()
  })

  it('are scraped below the path of Hydra’s URL', () => {
    const jobs = [{ project: 'infra', jobset: 'main', job: 'web' }]
    expect(scrapeConfig('https://ci.example.org/hydra', jobs)).toBe(
      [
        'scrape_configs:',
        "  - job_name: 'hydra'",
        '    scheme: https',
        "    metrics_path: '/hydra/prometheus'",
        "    static_configs: [ { targets: [ 'ci.example.org' ] } ]",
        "  - job_name: 'hydra-infra-main-web'",
        '    scheme: https',
        "    metrics_path: '/hydra/job/infra/main/web/prometheus'",
        "    static_configs: [ { targets: [ 'ci.example.org' ] } ]",
      ].join('\n'),
    )
  })
})

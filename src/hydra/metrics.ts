/** Facts about a job from its page for Prometheus. */
export interface JobMetrics {
  readonly failed: boolean
  /** Time of the last completion in seconds. */
  readonly completedAt: number
}

/** Parses the page of a job; returns undefined for any other page. */
export function readJobMetrics(text: string): JobMetrics | undefined {
  const [failed, completedAt] = [
    figureOf(text, 'hydra_job_failed'),
    figureOf(text, 'hydra_job_completion_time'),
  ]
  return failed === undefined || completedAt === undefined ? undefined : { failed: failed !== 0, completedAt }
}

function figureOf(text: string, name: string): number | undefined {
  const [, value] = new RegExp(`^${name}(?:\\{[^}]*\\})? ([0-9.eE+-]+)$`, 'm').exec(text) ?? []
  return value === undefined ? undefined : Number(value)
}

/** Returns lines for `scrape_configs` of Prometheus: one entry for each job, and one for Hydra's own page. */
export function scrapeConfig(
  url: string,
  jobs: readonly { readonly project: string; readonly jobset: string; readonly job: string }[],
): string {
  const { protocol, host, pathname } = new URL(url)
  const base = pathname.replace(/\/$/, '')
  const entry = (name: string, path: string) => [
    `  - job_name: '${name}'`,
    `    scheme: ${protocol.replace(':', '')}`,
    `    metrics_path: '${base}${path}'`,
    `    static_configs: [ { targets: [ '${host}' ] } ]`,
  ]
  return [
    'scrape_configs:',
    ...entry('hydra', '/prometheus'),
    ...jobs.flatMap(({ project, jobset, job }) =>
      entry(`hydra-${project}-${jobset}-${job}`, `/job/${project}/${jobset}/${job}/prometheus`),
    ),
  ].join('\n')
}

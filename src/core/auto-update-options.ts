import * as z from 'zod'
import { RecurringTime } from './calendar.js'
import { HealthChecks } from './health-checks.js'
import { type HydraSource, hydraNames, type NetworkHydra } from './hydra-source.js'
import { documented, shownAs } from './option-docs.js'

/** A duration with its unit, in the format of `--max-age`. */
const age = shownAs(
  'length of time',
  z.string().regex(/^[1-9]\d{0,5}[wdhms]$/, 'a length of time such as "36h" or "7d"'),
)

const { url, project, jobset, job } = hydraNames

/** `deployment.autoUpdate`: the machine updates itself to the newest build of its jobset. */
export const AutoUpdateOptions = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'lets the machine fetch and activate what Hydra built; when it is dropped, the timer is removed',
    true,
  ),
  url: documented(url.nullish(), 'URL of the Hydra, as the machine reaches it', 'https://hydra.example.org', {
    shownDefault: '`deployment.hydraSource.url`, or `network.hydra.url`',
  }),
  project: documented(project.nullish(), 'project of the jobset', 'infra', {
    shownDefault: '`deployment.hydraSource.project`, or `network.hydra.project`',
  }),
  jobset: documented(jobset.nullish(), 'jobset that builds the machine', 'main', {
    shownDefault: '`deployment.hydraSource.jobset`, or `network.hydra.jobset`',
  }),
  job: documented(job.nullish(), 'job whose result is the system of this machine', 'hosts.web', {
    shownDefault: "`deployment.hydraSource.job`, or the machine's name",
  }),
  gate: documented(job.nullish(), 'job that must have succeeded', 'release', {
    shownDefault: '`deployment.hydraSource.gate`, `network.hydra.gate`, or `"release"`',
  }),
  dates: documented(
    RecurringTime.default('04:40'),
    'times of the update, as calendar events of systemd.time(7); on Debian also a line of cron; a run begins up to 15 minutes later',
    'hourly',
  ),
  maxAge: documented(age.nullish(), 'greatest age of an evaluation that is activated', '7d', {
    shownDefault: 'any age',
  }),
  allowReboot: documented(
    z.boolean().default(false),
    'NixOS: boots once into a build that needs a boot, while the old system stays the boot default; also updates at each boot',
    true,
  ),
  healthChecks: documented(
    HealthChecks.nullish(),
    'checks after the activation; the machine goes back to its former system if one of them fails',
    { systemd: [{ unit: 'nginx.service' }] },
    { shownDefault: '`deployment.healthChecks`' },
  ),
})
export type AutoUpdateOptions = z.infer<typeof AutoUpdateOptions>

/** An automatic update whose missing options were filled from other options. */
export interface AutoUpdate {
  readonly url: string
  readonly project: string
  readonly jobset: string
  readonly job: string
  readonly gate: string
  readonly dates: string
  readonly maxAge: string | undefined
  readonly healthChecks: HealthChecks
}

/** Options from which an automatic update takes its values. */
interface Sources {
  readonly autoUpdate: AutoUpdateOptions
  readonly hydraSource: HydraSource
  readonly healthChecks: HealthChecks
}

/** Parts that identify a jobset; all of them are required. */
const needed = ['url', 'project', 'jobset'] as const

/** Fills in options that the machine leaves to its own Hydra source or to the network. */
export function withNetworkHydra(options: AutoUpdateOptions, own: HydraSource, network: NetworkHydra = {}) {
  return {
    ...options,
    url: options.url ?? own.url ?? network.url,
    project: options.project ?? own.project ?? network.project,
    jobset: options.jobset ?? own.jobset ?? network.jobset,
    gate: options.gate ?? own.gate ?? network.gate,
  }
}

/** Names the first part of a jobset that no option sets. */
export function missingPart(options: Pick<AutoUpdateOptions, (typeof needed)[number]>): string | undefined {
  return needed.find((part) => options[part] == null)
}

/** Returns the automatic update of a machine, or undefined for a machine without one. */
export function autoUpdateOf(
  machine: string,
  { autoUpdate, hydraSource, healthChecks }: Sources,
): AutoUpdate | undefined {
  const { url, project, jobset, gate } = withNetworkHydra(autoUpdate, hydraSource)
  if (!autoUpdate.enable || url == null || project == null || jobset == null) return undefined
  return {
    url: url.replace(/\/+$/, ''),
    project,
    jobset,
    job: autoUpdate.job ?? hydraSource.job ?? machine,
    gate: gate ?? 'release',
    dates: autoUpdate.dates,
    maxAge: autoUpdate.maxAge ?? undefined,
    healthChecks: autoUpdate.healthChecks ?? healthChecks,
  }
}

import * as z from 'zod'
import { documented } from './option-docs.js'

const url = z
  .string()
  .regex(/^https?:\/\/[^\s@?#]+$/, 'a URL such as "https://hydra.example.org", without user and password')
const name = z.string().regex(/^[A-Za-z_][A-Za-z0-9_-]*$/, 'a name of letters, digits, "-" and "_"')
const jobset = z
  .string()
  .regex(/^(?:\.jobsets|[A-Za-z_][A-Za-z0-9_-]*)$/, 'a name of letters, digits, "-" and "_"')
const job = z.string().regex(/^[A-Za-z_][A-Za-z0-9_.-]*$/, 'a name of letters, digits, ".", "-" and "_"')

/** Schemas for the URL and the names that identify a job of a Hydra. */
export const hydraNames = { url, project: name, jobset, job }

const source = {
  url: documented(url.nullish(), 'URL of the Hydra that builds the machine', 'https://hydra.example.org', {
    shownDefault: '`network.hydra.url`',
  }),
  project: documented(name.nullish(), 'project of the jobset', 'infra', {
    shownDefault: '`network.hydra.project`',
  }),
  jobset: documented(jobset.nullish(), 'jobset that builds the network', 'main', {
    shownDefault: '`network.hydra.jobset`',
  }),
  gate: documented(
    job.nullish(),
    'job that must have succeeded: an aggregate of all machines, or a test',
    'release',
    { shownDefault: '`network.hydra.gate`, or `"release"`' },
  ),
}

/** `network.hydra`: the jobset whose results `deploy --from-hydra` deploys. */
export const NetworkHydra = z.strictObject(source)
export type NetworkHydra = z.infer<typeof NetworkHydra>

/** `deployment.hydraSource`: the jobset and the job whose results one machine gets. */
export const HydraSource = z.strictObject({
  ...source,
  job: documented(job.nullish(), 'job whose result is the system of this machine', 'hosts.web', {
    shownDefault: "the machine's name",
  }),
})
export type HydraSource = z.infer<typeof HydraSource>

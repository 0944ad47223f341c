import type { Ops } from '../core/context.js'
import { usageError } from '../core/errors.js'
import { type HydraApi, hydraApi } from '../hydra/api.js'
import { operatorRun, wayFromOperator } from '../hydra/way.js'

/** Choice of the Hydra to query: by its URL, or by its deployment. */
export interface HydraChoice {
  readonly deployment: string | undefined
  readonly url: string | undefined
}

/** Returns the API of the chosen Hydra; writes nothing to the state. */
export async function openHydraApi(ops: Ops, choice: HydraChoice): Promise<HydraApi> {
  return hydraApi(wayFromOperator(await urlOf(ops, choice), operatorRun(ops)))
}

/** Returns the URL from the flag, of the deployment's own Hydra, or of the Hydra that built its machines' systems. */
export async function urlOf(ops: Ops, { deployment, url }: HydraChoice): Promise<string> {
  if (url !== undefined) {
    if (/^https?:\/\/[^\s@]+$/.test(url) && URL.canParse(url)) return url.replace(/\/+$/, '')
    throw usageError('--url: expected a URL such as https://hydra.example.org, without user and password')
  }
  const { machines } = await ops.store.resolve(deployment)
  const all = Object.values(machines)
  const own = all.flatMap(({ tasks }) => tasks.hydra?.outputs.url ?? [])
  const sources = all.flatMap(({ deployed }) => deployed?.hydra?.url ?? [])
  const [first, ...others] = new Set(own.length > 0 ? own : sources)
  if (first === undefined)
    throw usageError('the deployment knows no Hydra', { hint: 'name one: --url https://hydra.example.org' })
  if (others.length > 0)
    throw usageError('there is more than one Hydra', {
      hint: `choose one: --url ${[first, ...others].join(' or --url ')}`,
    })
  return first
}

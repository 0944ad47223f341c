import { expect, it } from 'vitest'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'
import { buildsFor, originItem } from '../../src/deploy/from-hydra.js'
import { hydraApi } from '../../src/hydra/api.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { ModelHydra } from '../fakes/model-hydra.js'
import { greenWish } from '../fixtures/hydra-wish.js'

const web = MachineName.parse('web')

it('a plan says that age, inputs and the present build are unknown', async () => {
  const jobs = { web: { id: 980, status: 0 }, release: { id: 982, status: 0, parts: ['web'] } }
  const model = new ModelHydra([{ id: 98, timestamp: null, jobs }])
  const place = { url: model.url, project: 'infra', jobset: 'main', gate: 'release' }
  const definitions = [...fakeNetwork([fakeMachine('web')]).machines.values()]
  const uuid = DeploymentUuid.parse('11111111-1111-4111-8111-111111111111')
  const record = { uuid, expressions: [], searchPath: [], args: {}, createdAt: '', machines: {} }
  const looking = { definitions, wish: greenWish, record, now: new Date() }
  const { builds } = await buildsFor(hydraApi(model), place, looking)
  const build = builds.get(web)
  expect(build && originItem(build, undefined)).toEqual({
    subject: 'hydra',
    action: 'activate',
    detail:
      'evaluation 98 of infra:main, of unknown age, inputs without revisions · http://hydra.example.org/build/980',
    note: 'runs no build of a Hydra yet',
  })
})

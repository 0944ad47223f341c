import { type DeployRequest, plainDeploy } from '../../src/deploy/request.js'

/** The request of most tests: `hydra-ops deploy -d net --yes`. */
export const standardRequest: DeployRequest = { ...plainDeploy, deployment: 'net', yes: true }

import { type DeployRequest, plainDeploy } from '../../src/deploy/request.js'

/** `hydra-ops deploy -d net --yes`, as a test begins with it. */
export const standardRequest: DeployRequest = { ...plainDeploy, deployment: 'net', yes: true }

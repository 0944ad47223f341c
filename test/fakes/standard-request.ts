import type { DeployRequest } from '../../src/operations/deploy/request.js'

/** `hydra-ops deploy -d net --yes`, as a test begins with it. */
export const standardRequest: DeployRequest = {
  deployment: 'net',
  selection: {},
  dryRun: false,
  until: undefined,
  check: false,
  killObsolete: false,
  allowRecreate: false,
  alwaysActivate: false,
  allowReboot: false,
  forceReboot: false,
  skipOffline: false,
  keepGoing: false,
  maxConcurrent: 4,
  closures: new Map(),
  retryFailed: false,
  yes: true,
  acceptHostKey: false,
  args: {},
  searchPath: [],
  nix: { showTrace: false, options: [] },
  onPlan: () => {},
}

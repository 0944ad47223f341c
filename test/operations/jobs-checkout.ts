import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { NetworkDefinition, NetworkForm } from '../../src/core/definition.js'
import { DeploymentName } from '../../src/core/names.js'
import { packageRoot } from '../../src/core/package-root.js'
import { deploy } from '../../src/deploy/deploy.js'
import { initJobs, type JobsInit, type JobsInitialised } from '../../src/operations/jobs-init.js'
import { runFakeDebian } from '../fakes/fake-debian.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { createFakeOps, type FakeOps, fakeRegistry } from '../fakes/fake-ops.js'
import { standardRequest } from '../fakes/standard-request.js'

export const form: NetworkForm = { layout: 'nixops', namesNixpkgs: false, system: 'x86_64-linux' }
export const [web, db] = [fakeMachine('web'), fakeMachine('db')]
export const url = 'https://git.example.org/net.git'
export const request: JobsInit = {
  ...{ deployment: 'net', folder: undefined, cwd: '/', repository: undefined, nixpkgs: undefined },
  nix: { showTrace: false, options: [] },
}

/** A repository with the network `lab/net.nix`, and a deployment `net` of that network. */
export interface JobsCheckout {
  readonly ops: FakeOps
  readonly root: string
  /** Git's answers by arguments; git fails for arguments without an entry. */
  readonly gitSays: Map<string, string>
  remember(expressions?: string[], name?: string): Promise<unknown>
  init(changed?: Partial<JobsInit>): Promise<JobsInitialised>
  /** Returns the text of a file below the folder `hydra`. */
  text(path: string): string
  json(path: string): Record<string, Record<string, unknown>>
  network(changed: Partial<NetworkDefinition>): void
  /** Returns the content and the time of each file below the folder `hydra`. */
  contents(): unknown[]
  /** Returns the notices of a plan. */
  notices(): Promise<string[]>
  dispose(): void
}

export async function jobsCheckout(): Promise<JobsCheckout> {
  const root = realpathSync(mkdtempSync(join(tmpdir(), 'ho-jobs-')))
  mkdirSync(join(root, '.git'))
  mkdirSync(join(root, 'lab'))
  writeFileSync(join(root, 'lab', 'net.nix'), '{ }')
  const gitSays = new Map([
    ['config --get remote.origin.url', `${url}\n`],
    ['symbolic-ref --quiet --short HEAD', 'main\n'],
    ['status --porcelain --untracked-files=no', ''],
    ['ls-files --others --exclude-standard -z -- hydra', ''],
    ['rev-list --count @{upstream}..HEAD', '0\n'],
  ])
  const ops = await createFakeOps({ network: fakeNetwork([web, db], { form }) })
  runFakeDebian(ops)
  const optionsNix = join(packageRoot(), 'providers', 'ssh', 'options.nix')
  Object.assign(ops, {
    providers: fakeRegistry(ops.providers.all().map((each) => ({ ...each, optionsNix }))),
  })
  Object.assign(ops.local, {
    run: async ([program = '', , folder = '', ...words]: string[]) => {
      expect([program, folder]).toEqual(['git', root])
      const stdout = gitSays.get(words.join(' '))
      return {
        ...{ kind: 'exited', code: stdout === undefined ? 1 : 0, stdout: stdout ?? '' },
        ...{ stderr: '', truncated: false },
      }
    },
  })
  const hydra = join(root, 'hydra')
  const text = (path: string) => readFileSync(join(hydra, path), 'utf8')
  const remember = (expressions = [join(root, 'lab', 'net.nix')], name = 'net') =>
    ops.store.create({ name: DeploymentName.parse(name), expressions, searchPath: [], args: {} })
  await remember()
  return {
    ...{ ops, root, gitSays, remember, text },
    init: (changed = {}) => initJobs(ops, { ...request, ...changed }),
    json: (path) => JSON.parse(text(path)),
    network(changed) {
      ops.nix.network = { ...ops.nix.network, ...changed }
    },
    contents: () =>
      readdirSync(hydra, { recursive: true, encoding: 'utf8' })
        .sort()
        .map((name) => {
          const file = join(hydra, name)
          const found = statSync(file)
          return found.isFile() ? [name, found.mtimeMs, readFileSync(file, 'utf8')] : [name]
        }),
    async notices() {
      ops.emitted.splice(0)
      await deploy(ops, { ...standardRequest, dryRun: true })
      return ops.emitted.flatMap((event) => (event.kind === 'notice' ? [event.text] : []))
    },
    dispose() {
      ops.cleanup()
      rmSync(root, { recursive: true, force: true })
    },
  }
}

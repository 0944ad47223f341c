import { keyTask } from '../../core/builder-offer.js'
import { failure } from '../../core/errors.js'
import type { SetupTask } from '../../core/setup-task.js'
import { askMachine, fact, runScript } from '../../remote/run-script.js'
import { type BuilderKey, builderUse } from './relations.js'

interface KeyOptions {
  readonly key: BuilderKey
  /** Comment of the public key: deployment and machine. */
  readonly comment: string
}

/** The key pair with which a machine logs in to its builders. The private key never leaves the machine. */
export const builderKeyTask: SetupTask<KeyOptions> = {
  id: keyTask,
  title: 'key pair for builders',
  after: ['nix', 'hydra-accounts'],
  stage: 'configure',
  debianPackages: () => ['openssh-client'],
  wanted: (machine) => {
    const use = builderUse(machine)
    if (use === undefined || use.builders.length + use.awaited.length === 0) return undefined
    return { key: use.key, comment: `hydra-ops-${machine.deployment}-${machine.definition.name}` }
  },
  owns: ({ key: { file } }) => [
    { path: file, instead: 'no file: hydra-ops creates the key on the machine' },
    { path: `${file}.pub`, instead: 'no file: hydra-ops creates the key on the machine' },
  ],
  async probe(host, options, run) {
    const facts = await askMachine(host, { ...question, values: valuesOf(options) }, run)
    if (fact(facts, 'key') === 'absent') return 'needed'
    const wrong = facts.get('wrong') ?? []
    return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
  },
  async apply(host, options, run) {
    const make = { what: 'create the key pair for builders', script: 'tasks/builder-key/apply' }
    await runScript(host, { ...make, values: valuesOf(options) }, run)
    const facts = await askMachine(host, { ...question, values: valuesOf(options) }, run)
    return { publicKey: fact(facts, 'public') }
  },
  async verify(host, options, run) {
    const facts = await askMachine(host, { ...question, values: valuesOf(options) }, run)
    if (/^ssh-ed25519 [A-Za-z0-9+/]+=*$/.test(fact(facts, 'public'))) return
    throw failure(
      'BUILDER_KEY',
      `machine '${host.machine}': ${options.key.file} is not an ed25519 private key without a passphrase`,
      {
        machine: host.machine,
        hint: `move ${options.key.file} away on the machine, then deploy again`,
      },
    )
  },
}

const question = { what: 'look at the key pair for builders', script: 'tasks/builder-key/look' }

function valuesOf({ key, comment }: KeyOptions) {
  return { key: key.file, directory: key.directory, user: key.user, group: key.group, comment }
}

import { randomBytes } from 'node:crypto'
import { failure, OpsError } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../../remote/run-script.js'
import { builderName, type UsedBuilder } from './entries.js'
import { type LoginCause, loginCause, loginFailure } from './login-failure.js'
import { type BuilderUse, listFiles } from './relations.js'

/** Deadline of one tiny build, with its login and two copies; an emulated guest takes seconds for each. */
const buildMs = 300_000

/** One build that a builder must be able to do. */
interface Trial {
  readonly system: string
  readonly features: readonly string[]
}

/**
 * Lists the builds that prove a builder: for each system one that any build may be, and one that requires every feature.
 * A builder takes only builds that require all its mandatory features, so both require these.
 */
export function trialsOf(builder: UsedBuilder): Trial[] {
  const { systems, supportedFeatures, mandatoryFeatures } = builder
  const all = [...new Set([...supportedFeatures, ...mandatoryFeatures])]
  return systems.flatMap((system) => [
    { system, features: mandatoryFeatures },
    ...(all.length > mandatoryFeatures.length ? [{ system, features: all }] : []),
  ])
}

/** Builds on a builder as its user does, once for each system and kind of build; throws the cause of a failure. */
export async function proveBuilder(
  host: Host,
  { reader, key }: Pick<BuilderUse, 'reader' | 'key'>,
  builder: UsedBuilder,
  run: Run,
): Promise<void> {
  for (const { system, features } of trialsOf(builder)) {
    const what = `build for ${system} on builder '${builder.machine}'`
    const question = {
      what,
      script: 'tasks/builders/prove',
      timeoutMs: buildMs,
      values: {
        run_as: key.user,
        through: reader === 'daemon' ? 'daemon' : 'own',
        list: listFiles[reader],
        name: builderName(builder, reader),
        line: '',
        system,
        features: [...features],
        stamp: randomBytes(8).toString('hex'),
      },
    }
    try {
      const facts = await askMachine(host, question, run)
      const required = features.length === 0 ? '' : ` with ${features.join(', ')}`
      run.log(`builder '${builder.machine}' built for ${system}${required}: ${fact(facts, 'on')}`)
    } catch (error) {
      throw buildFailure(error, { host, what, builder, key })
    }
  }
}

function buildFailure(
  error: unknown,
  {
    host,
    what,
    builder,
    key,
  }: {
    readonly host: Host
    readonly what: string
    readonly builder: UsedBuilder
    readonly key: BuilderUse['key']
  },
): Error {
  const said = error instanceof OpsError ? [error.message, error.detail ?? ''].join('\n') : ''
  const cause = said === '' ? undefined : buildCause(said, builder)
  if (cause === undefined || loginCause(said, { builder, key }) !== undefined)
    return loginFailure(error, { machine: host.machine, what, builder, key })
  return failure('BUILDER_BUILD', `machine '${host.machine}': cannot ${what}: ${cause.why}`, {
    machine: host.machine,
    hint: cause.hint,
    ...(error instanceof OpsError && error.detail !== undefined ? { detail: error.detail } : {}),
    cause: error,
  })
}

/** Reads what Nix says about a build that a builder did not do; returns `undefined` for an unknown text. */
export function buildCause(
  text: string,
  { machine, user }: Pick<UsedBuilder, 'user'> & { readonly machine: string },
): LoginCause | undefined {
  const [, wanted = '', offered = ''] =
    /a '([^']+' with features \{[^}]*\}) is required to build .*? I am a '([^']+' with features \{[^}]*\})/.exec(
      text,
    ) ?? []
  if (wanted !== '')
    return {
      why: `the build needs '${wanted}, and the Nix of '${machine}' is '${offered}`,
      hint: `run hydra-ops setup run nix --redo --on ${machine}: a feature must stand in its system-features too, and a foreign system in its extra-platforms`,
      byHand: `put the feature into system-features, or the system into extra-platforms, in the nix.conf of '${machine}'`,
    }
  if (/not privileged to build|lacks a valid signature/.test(text))
    return {
      why: `the Nix daemon of '${machine}' does not trust user '${user}'`,
      hint: `run hydra-ops setup run nix --redo --on ${machine}: the user must be among its trusted-users`,
      byHand: `add ${user} to trusted-users in the nix.conf of '${machine}', then restart its nix-daemon`,
    }
  if (/No space left on device|disk I\/O error|database or disk is full/.test(text))
    return { why: `'${machine}' has no disk space left`, hint: `make room on '${machine}'` }
  if (/unexpected end-of-file/.test(text))
    return {
      why: `'${machine}' ended the connection`,
      hint: `journalctl -u nix-daemon on '${machine}' tells whether its disk is full, or the process was killed`,
    }
  return undefined
}

import { randomBytes } from 'node:crypto'
import { builderName, type ProofPlace, type UsedBuilder } from '../../core/builder-entries.js'
import { failure, OpsError } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact, type Shell } from '../../remote/run-script.js'
import { type LoginCause, loginCause, loginFailure } from './login-failure.js'
import { type BuilderUse, listFiles } from './relations.js'

/** Deadline for one tiny build, with its login and two copies; an emulated guest takes seconds for each. */
const buildMs = 300_000

/** One build that a builder must be able to do. */
interface Trial {
  readonly system: string
  readonly features: readonly string[]
}

/**
 * Lists the builds that prove a builder, at most two for each system. One build requires only the mandatory features,
 * the other build requires every feature. A builder refuses a build that does not require all its mandatory features.
 */
export function trialsOf(builder: UsedBuilder): Trial[] {
  const { systems, supportedFeatures, mandatoryFeatures } = builder
  const all = [...new Set([...supportedFeatures, ...mandatoryFeatures])]
  return systems.flatMap((system) => [
    { system, features: mandatoryFeatures },
    ...(all.length > mandatoryFeatures.length ? [{ system, features: all }] : []),
  ])
}

/**
 * Runs the builds of `trialsOf` on a builder, through the daemon or queue runner that uses the builder. Throws an error
 * that names the cause of a failure.
 */
export function proveBuilder(
  host: Host,
  { reader, key }: Pick<BuilderUse, 'reader' | 'key'>,
  builder: UsedBuilder,
  run: Run,
): Promise<void> {
  const place: ProofPlace = {
    shell: host,
    through: reader === 'daemon' ? 'daemon' : 'own',
    runAs: key.user,
    list: listFiles[reader],
    name: builderName(builder, reader),
    key,
    sshConfig: '',
  }
  return proveFrom(place, builder, run)
}

/**
 * Builds on a builder from a machine or from this host. Nix itself names the machine that built, which must be this
 * builder.
 */
export async function proveFrom(place: ProofPlace, builder: UsedBuilder, run: Run): Promise<void> {
  const { shell, through, runAs, list, name, sshConfig } = place
  for (const { system, features } of trialsOf(builder)) {
    const what = `build for ${system} on builder '${builder.machine}'`
    const question = {
      what,
      script: 'tasks/builders/prove',
      timeoutMs: buildMs,
      values: {
        run_as: runAs,
        through,
        list,
        name,
        line: '',
        ssh_config: sshConfig,
        system,
        features: [...features],
        stamp: randomBytes(8).toString('hex'),
      },
    }
    let on: string
    try {
      on = fact(await askMachine(shell, question, run), 'on')
    } catch (error) {
      throw buildFailure(error, { host: shell, what, builder, key: place.key })
    }
    if (withoutScheme(on) !== withoutScheme(name)) throw builtElsewhere(shell, what, on)
    const required = features.length === 0 ? '' : ` with ${features.join(', ')}`
    run.log(`builder '${builder.machine}' built for ${system}${required}: ${on}`)
  }
}

/** Removes the scheme from a builder's name: Nix prints the scheme, a queue runner does not. */
function withoutScheme(name: string): string {
  return name.replace(/^ssh:\/\//, '')
}

function builtElsewhere({ machine }: Shell, what: string, on: string): Error {
  return failure('BUILDER_BUILD', `machine '${machine}': cannot ${what}: Nix built on ${on}`, {
    machine,
    hint: 'the Nix daemon chooses among all its builders; run the proof again when the builder has free jobs',
  })
}

function buildFailure(
  error: unknown,
  {
    host,
    what,
    builder,
    key,
  }: {
    readonly host: Shell
    readonly what: string
    readonly builder: UsedBuilder
    readonly key: ProofPlace['key']
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

/**
 * Finds the cause in Nix's output about a build that a builder did not finish; returns `undefined` for unknown text.
 */
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
      hint: `run hydra-ops setup run nix --redo --on ${machine}: the nix.conf of ${machine} must list each feature in system-features, and each foreign system in extra-platforms`,
      byHand: `put the feature into system-features, or the system into extra-platforms, in the nix.conf of '${machine}'`,
    }
  if (/not privileged to build|lacks a valid signature/.test(text))
    return {
      why: `the Nix daemon of '${machine}' does not trust user '${user}'`,
      hint: `run hydra-ops setup run nix --redo --on ${machine}: the user must be listed in trusted-users`,
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

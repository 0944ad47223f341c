import type { UsedBuilder } from '../../core/builder-entries.js'
import { failure, messageOf, OpsError } from '../../core/errors.js'
import type { MachineName } from '../../core/names.js'
import type { BuilderKey } from './relations.js'

/** A known cause of a failed login, with the remedy. */
export interface LoginCause {
  readonly why: string
  readonly hint: string
  /** Alternative remedy, for a builder that hydra-ops did not set up. */
  readonly byHand?: string | undefined
}

interface Login {
  readonly builder: Pick<UsedBuilder, 'user' | 'host' | 'port'> & { readonly machine: string }
  readonly key: Pick<BuilderKey, 'file' | 'user'>
}

/** Finds the cause in the output of Nix and ssh about a failed login; returns `undefined` for an unknown text. */
export function loginCause(text: string, { builder, key }: Login): LoginCause | undefined {
  const { machine, user, host, port } = builder
  const printed = printedBefore(text)
  const causes: readonly (readonly [boolean | RegExp, string, string, string?])[] = [
    [
      printed !== undefined,
      `the login shell prints ${JSON.stringify(printed)} before Nix speaks`,
      `make the shell of '${user}' on '${machine}' silent: no nologin, no echo in its start files`,
    ],
    [
      /REMOTE HOST IDENTIFICATION HAS CHANGED|Host key for .* has changed/,
      `'${host}' presents a host key other than the pinned key`,
      `check that '${host}' is machine '${machine}'; after a new installation, deploy '${machine}' first`,
      `check that the right host answers, and put its new key into the line of the builder`,
    ],
    [
      /Host key verification failed|No .* host key is known/,
      `the host key of '${host}' is not known`,
      `run hydra-ops setup run builders --redo; the list of builders holds the pinned key`,
      `put the host key into the line of the builder, as base64 -w0 prints ssh_host_ed25519_key.pub of '${host}'`,
    ],
    [
      /Load key ".*": Permission denied|Identity file .* not accessible: Permission denied/,
      `user '${key.user}' may not read the key ${key.file}`,
      'run hydra-ops setup run builder-key --redo, which sets its owner and mode',
      `chown ${key.user} ${key.file}; chmod 600 ${key.file}; give this user access to each folder above the key`,
    ],
    [
      /Identity file .* not accessible|Load key ".*": (?:No such file|invalid format|error in libcrypto)/,
      `the key ${key.file} is missing or not a private key`,
      'run hydra-ops setup run builder-key --redo, then deploy the builder too',
      `create the key: ssh-keygen -t ed25519 -N '' -f ${key.file}, and add ${key.file}.pub to the authorized_keys of '${user}'`,
    ],
    [
      /Permission denied \(/,
      `'${machine}' does not accept the key for user '${user}'`,
      `deploy '${machine}': its set-up tasks write the keys that may log in there`,
      `add the public half of the key to the authorized_keys of '${user}' on '${host}'`,
    ],
    [
      /Could not resolve hostname/,
      `the machine does not know the name '${host}'`,
      `set deployment.builder.hostName of '${machine}' to a name or an address that the machine knows`,
      'name the builder by an address, or make the name known to the machine, in its hosts file or in the DNS',
    ],
    [
      /Connection refused/,
      `no ssh server answers at ${host}:${port}`,
      `start the ssh server on '${machine}', or set deployment.builder.port`,
      `start the ssh server on '${host}'; set another port in ssh_config(5), in a block for '${host}'`,
    ],
    [
      /Connection timed out|No route to host|Network is unreachable/,
      `'${host}' does not answer`,
      `hydra-ops check --on ${machine} tells whether the builder runs`,
      `start '${host}', or allow connections to '${host}' in the firewall`,
    ],
    [
      /nix-(?:store|daemon): (?:command )?not found|nix-(?:store|daemon): No such file/,
      `user '${user}' has no nix-store on the PATH`,
      `install Nix on '${machine}' so that "ssh ${user}@${host} nix-store --version" works without a login shell`,
    ],
    [
      /daemon-socket\/socket.*Permission denied/,
      `user '${user}' may not use the Nix daemon`,
      `run hydra-ops setup run builder --redo --on ${machine}: the user must be in group nix-users`,
      `add '${user}' to the group nix-users on '${host}'`,
    ],
  ]
  const found = causes.find(([sign]) => (typeof sign === 'boolean' ? sign : sign.test(text)))
  return found === undefined ? undefined : { why: found[1], hint: found[2], byHand: found[3] }
}

/**
 * Extracts the output of a login shell from Nix's error. Hydra's error has the output as a number, the ssh store's
 * error as text.
 */
function printedBefore(text: string): string | undefined {
  const number = /serialised integer (\d+) is too large/.exec(text)?.[1]
  if (number !== undefined) return firstCharacters(number)
  return /protocol mismatch(?: from [‘'][^’']*[’'])?, got [‘']([^\n]*?)[’']?$/m.exec(text)?.[1]
}

/** Decodes the text that Nix read as a number: eight bytes, the least significant byte first. */
export function firstCharacters(number: string): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(number)))
  return bytes.toString('latin1').replace(/\0+$/, '')
}

/** Explains a failed login to a builder. */
export function loginFailure(
  error: unknown,
  { machine, what, ...login }: Login & { readonly machine: MachineName; readonly what: string },
): Error {
  if (!(error instanceof OpsError) || error.code === 'INTERRUPTED')
    return error instanceof Error ? error : new Error(messageOf(error))
  const said = [error.message, error.detail ?? ''].join('\n')
  const cause = loginCause(said, login)
  if (cause === undefined) return error
  return failure('BUILDER_LOGIN', `machine '${machine}': cannot ${what}: ${cause.why}`, {
    machine,
    cause: error,
    hint: cause.hint,
    ...(error.detail === undefined ? {} : { detail: error.detail }),
  })
}

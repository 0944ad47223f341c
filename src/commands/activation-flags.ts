import { type Command, Option } from 'commander'
import { usageError } from '../core/errors.js'
import type { DeployRequest } from '../deploy/request.js'
import { positive } from './flags.js'

/** Flags for the activation of systems, most of them for NixOS machines. */
export interface ActivationFlags {
  readonly boot?: boolean | undefined
  readonly test?: boolean | undefined
  readonly dryActivate?: boolean | undefined
  readonly onDegraded?: DeployRequest['onDegraded']
  readonly confirmTimeout?: number | undefined
  /**
   * Whether a system that needs a reboot becomes the default only after one successful boot; false for
   * `--no-boot-once`.
   */
  readonly bootOnce?: boolean | undefined
  readonly replaceUnknown?: boolean | undefined
  readonly onFailure?: DeployRequest['onFailure'] | undefined
}

export function activationFlags(command: Command): void {
  command
    .option('--boot', 'NixOS: make the system the boot default, and switch nothing now')
    .option('--test', 'NixOS: let the system run until the next boot, and change no boot default')
    .option('--dry-activate', 'NixOS: copy the system, and show what a switch would do')
    .addOption(
      new Option(
        '--on-degraded <policy>',
        'NixOS: if the new system is faulty, keep the old boot default (fail, the default), make the new system the boot default (keep), or go back to the old system (rollback)',
      ).choices(['fail', 'keep', 'rollback']),
    )
    .option(
      '--confirm-timeout <seconds>',
      'NixOS: time for the new login that confirms a switch (default: 30)',
      positive,
    )
    .option('--no-boot-once', 'NixOS: reboot into the new boot default, without a trial boot')
    .option('--replace-unknown', 'NixOS: replace a system that neither this deployment nor this host knows')
    .addOption(
      new Option(
        '--on-failure <policy>',
        'when a machine fails: go on with the other machines (continue, the default), deploy no further machines (stop), or also roll back the switched NixOS machines (rollback-all)',
      ).choices(['continue', 'stop', 'rollback-all']),
    )
}

type Activation = Pick<
  DeployRequest,
  'mode' | 'onDegraded' | 'confirmSeconds' | 'bootOnce' | 'replaceUnknown' | 'onFailure'
>

/** Reads the flags, and refuses flags that exclude each other. */
export function activationOf(
  flags: ActivationFlags & {
    readonly buildOnly?: boolean | undefined
    readonly createOnly?: boolean | undefined
    readonly copyOnly?: boolean | undefined
    readonly killObsolete?: boolean | undefined
    readonly forceReboot?: boolean | undefined
  },
): Activation {
  const parts = [
    ...given('--boot', flags.boot),
    ...given('--test', flags.test),
    ...given('--dry-activate', flags.dryActivate),
  ]
  const [part] = parts
  const others =
    part === undefined
      ? []
      : [
          ...parts.slice(1),
          ...given('--build-only', flags.buildOnly),
          ...given('--create-only', flags.createOnly),
          ...given('--copy-only', flags.copyOnly),
          ...given('--force-reboot', flags.forceReboot),
          ...given('--on-failure rollback-all', flags.onFailure === 'rollback-all'),
          ...given('--kill-obsolete', part === '--dry-activate' && flags.killObsolete === true),
          ...given('--on-degraded keep', part === '--test' && flags.onDegraded === 'keep'),
        ]
  if (others.length > 0) throw usageError(`${[part, ...others].join(' and ')} cannot be combined`)
  return {
    mode: modes.get(part) ?? 'switch',
    onDegraded: flags.onDegraded,
    confirmSeconds: flags.confirmTimeout ?? 30,
    bootOnce: flags.bootOnce ?? true,
    replaceUnknown: flags.replaceUnknown ?? false,
    onFailure: flags.onFailure ?? 'continue',
  }
}

const modes: ReadonlyMap<string | undefined, DeployRequest['mode']> = new Map([
  ['--boot', 'boot'],
  ['--test', 'test'],
  ['--dry-activate', 'dry-activate'],
])

function given(flag: string, value: boolean | undefined): string[] {
  return value === true ? [flag] : []
}

import { buildersSetting } from '../core/builder-entries.js'
import { calendarEvents } from '../core/calendar.js'
import type { DebianOptions } from '../core/debian-options.js'
import { settingNames } from '../core/nix-options.js'
import { listFiles } from './builders/relations.js'
import { hydraUsers } from './hydra/settings.js'
import { cachesFile, signingFile } from './nix-settings.js'

export type NixOptions = DebianOptions['nix'] & {
  /** Whether garbage collection keeps the build-time dependencies of live paths (keep-outputs, keep-derivations). */
  readonly keepOutputs?: boolean
  /** Features that the machine offers as a builder, besides the features that Nix detects itself. */
  readonly builderFeatures?: readonly string[]
  /** Systems that the machine emulates. */
  readonly emulatedSystems?: readonly string[]
  /** Whether the daemon also builds on the machines in hydra-ops's own list of builders. */
  readonly usesBuilders?: boolean
  /** Files with additional settings that other tasks write. */
  readonly includes?: readonly string[]
}

/** Merges `deployment.nix` with the settings that Hydra and builders need. */
export function nixOptions(
  options: DebianOptions,
  { usesBuilders = false, usesCaches = false } = {},
): NixOptions {
  const { builder, binfmt } = options
  const includes = [
    ...(builder.enable && builder.cache.enable ? [signingFile] : []),
    ...(usesCaches ? [cachesFile] : []),
  ]
  const { emulatedSystems } = binfmt
  const nix = {
    ...ofHydra(options),
    ...(usesBuilders ? { usesBuilders } : {}),
    ...(includes.length > 0 ? { includes } : {}),
    ...(emulatedSystems.length > 0 ? { emulatedSystems } : {}),
  }
  // A Nix installation in a home directory has its own settings.
  if (!builder.enable || builder.wrapper != null) return nix
  const { supportedFeatures, mandatoryFeatures, sshUser } = builder
  return {
    ...nix,
    // Builds of an untrusted user end with `unexpected end-of-file` on the requesting machine (measured).
    trustedUsers: [...nix.trustedUsers, sshUser],
    builderFeatures: [...new Set([...(supportedFeatures ?? []), ...mandatoryFeatures])],
  }
}

function ofHydra({ nix, hydra }: DebianOptions): NixOptions {
  if (!hydra.enable) return nix
  return {
    ...nix,
    // The queue runner cannot build without trust: `possibly transient failure … unexpected end-of-file` (measured).
    trustedUsers: [...nix.trustedUsers, hydraUsers.queueRunner, ...hydra.trustedUsers],
    gc: hydra.gc.automatic ? hydra.gc : nix.gc,
    autoOptimiseStore: nix.autoOptimiseStore || hydra.autoOptimiseStore,
    keepOutputs: true,
  }
}

/**
 * Lists the settings that builders need on both sides. Features in the machines file alone do not suffice (measured).
 */
function builderSettings({ builderFeatures = [], usesBuilders = false }: NixOptions): string[] {
  return [
    ...(builderFeatures.length === 0 ? [] : [`extra-system-features = ${builderFeatures.join(' ')}`]),
    ...(usesBuilders
      ? [
          `builders = ${buildersSetting('@/etc/nix/machines', `@${listFiles.daemon}`)}`,
          'builders-use-substitutes = true',
        ]
      : []),
  ]
}

/** File of our own settings; one line of Debian's nix.conf includes it. */
export const nixSettingsFile = '/etc/nix/hydra-ops.conf'
export const nixInclude = '!include hydra-ops.conf'

export const gcUnit = 'hydra-ops-nix-gc'

/**
 * Paths that builders need from Debian to run `/bin/sh` scripts (tried with Nix 2.8). A path with `?` may be missing,
 * as /lib64 is on other architectures.
 */
const sandboxPaths = ['/bin/sh=/bin/dash', '/usr/bin', '/usr/lib', '/lib?', '/lib64?']

/**
 * Writes our settings (nix.conf(5)). A setting that `extraOptions` repeats is left out, so that the file shows only the
 * effective value. A setting that has its own option is refused in `extraOptions`.
 */
export function nixSettings(options: NixOptions): string {
  const {
    emulatedSystems = [],
    substituters,
    trustedPublicKeys,
    trustedUsers,
    allowedUris,
    autoOptimiseStore,
  } = options
  // Nix adds a value of `extra-NAME` to earlier values, so such a line does not replace a setting of hydra-ops.
  const theirs = new Set(settingNames(options.extraOptions).filter((name) => !name.startsWith('extra-')))
  const ours = [
    // An explicit empty list keeps Nix from querying its default public cache at every build.
    `substituters =${substituters.map((each) => ` ${each}`).join('')}`,
    ...(trustedPublicKeys.length === 0 ? [] : [`extra-trusted-public-keys = ${trustedPublicKeys.join(' ')}`]),
    `trusted-users = ${[...new Set(['root', ...trustedUsers])].join(' ')}`,
    // A power cut would otherwise leave paths that are valid but empty, and that are never copied again.
    'sync-before-registering = true',
    'sandbox = true',
    `sandbox-paths = ${sandboxPaths.join(' ')}`,
    `auto-optimise-store = ${autoOptimiseStore}`,
    ...(allowedUris.length === 0 ? [] : [`allowed-uris = ${allowedUris.join(' ')}`]),
    ...builderSettings(options),
    // A plain `extra-platforms` line would replace the systems that the processor itself runs, such as i686-linux.
    ...(emulatedSystems.length === 0 ? [] : [`extra-extra-platforms = ${emulatedSystems.join(' ')}`]),
    ...(options.keepOutputs === true ? ['keep-outputs = true', 'keep-derivations = true'] : []),
  ]
  return [
    '# Written by hydra-ops (set-up task "nix"); changes made here are overwritten.\n',
    ...ours.filter((line) => !settingNames(line).some((name) => theirs.has(name))).map((line) => `${line}\n`),
    // The user's own lines come last, because a later line overrides an earlier one.
    ...(options.includes ?? []).map((file) => `!include ${file}\n`),
    ...(options.extraOptions.trim() === ''
      ? []
      : [`# deployment.nix.extraOptions\n${options.extraOptions.replace(/\n*$/, '\n')}`]),
  ].join('')
}

/** Lists the unit files of the scheduled garbage collection; returns `[]` if the schedule is not enabled. */
export function gcUnits(options: NixOptions): { readonly path: string; readonly content: string }[] {
  if (!options.gc.automatic) return []
  const service = `# Written by hydra-ops (set-up task "nix")
[Unit]
Description=Garbage collection of the Nix store

[Service]
Type=oneshot
ExecStart=:/usr/bin/nix-collect-garbage ${options.gc.options.replaceAll('%', '%%')}
`
  const timer = `# Written by hydra-ops (set-up task "nix")
[Unit]
Description=Garbage collection of the Nix store

[Timer]
${calendarEvents(options.gc.dates)
  .map((event) => `OnCalendar=${event}\n`)
  .join('')}Persistent=true

[Install]
WantedBy=timers.target
`
  return [
    { path: gcPath('service'), content: service },
    { path: gcPath('timer'), content: timer },
  ]
}

export function gcPath(kind: 'service' | 'timer'): string {
  return `/etc/systemd/system/${gcUnit}.${kind}`
}

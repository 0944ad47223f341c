import * as z from 'zod'
import { RecurringTime } from './calendar.js'
import { documented } from './option-docs.js'

/** One entry of a list in nix.conf, where blanks separate entries and "#" begins a comment. */
const nixWord = z.string().regex(/^[^\s#]+$/, 'text without blanks and "#"')

/**
 * Settings of nix.conf(5) that options of hydra-ops set, with the names of the options. Old names of settings are
 * included.
 */
const optionOf: Readonly<Record<string, string>> = {
  'allowed-uris': 'allowedUris',
  'auto-optimise-store': 'autoOptimiseStore',
  'binary-cache-public-keys': 'trustedPublicKeys',
  'binary-caches': 'substituters',
  substituters: 'substituters',
  'trusted-public-keys': 'trustedPublicKeys',
  'trusted-users': 'trustedUsers',
}

/** New names of settings that the set-up task `nix` writes, by their old names. */
const newName: Readonly<Record<string, string>> = {
  'build-chroot-dirs': 'sandbox-paths',
  'build-sandbox-paths': 'sandbox-paths',
  'build-use-chroot': 'sandbox',
  'build-use-sandbox': 'sandbox',
  'gc-keep-derivations': 'keep-derivations',
  'gc-keep-outputs': 'keep-outputs',
}

/** Returns the names of the settings in lines of nix.conf(5), with old names replaced. */
export function settingNames(lines: string): string[] {
  return lines.split('\n').flatMap((line) => {
    const name = /^\s*([^\s#!]+)\s/.exec(line)?.[1]
    return name === undefined ? [] : [newName[name] ?? name]
  })
}

/** Describes the problem with a line of nix.conf(5). An invalid line keeps every Nix program from starting. */
function lineProblem(line: string): string | undefined {
  const [name, sign, ...rest] = line.replace(/#.*/s, '').split(/\s+/).filter(Boolean)
  if (name === undefined || (name === '!include' && sign !== undefined && rest.length === 0)) return undefined
  const shown = JSON.stringify(line.trim())
  if (name === 'include') {
    return `${shown}: write !include, because a missing file after include stops every program of Nix`
  }
  if (sign !== '=' || !/^[a-z0-9-]+$/.test(name)) {
    return `${shown} is not a line of nix.conf: expected "name = value" (with blanks around "=") or "!include FILE"`
  }
  const option = optionOf[name]
  return option === undefined ? undefined : `${shown}: use deployment.nix.${option}`
}

const extraOptions = z
  .string()
  .default('')
  .superRefine((text, context) => {
    for (const line of text.split(/[\n\r]/)) {
      const message = lineProblem(line)
      if (message !== undefined) context.addIssue({ code: 'custom', message })
    }
  })

/** Options of nix-collect-garbage, as words of a unit's command line: no quotes, and no second command. */
const CommandWords = z.string().regex(/^[^\n\r"'\\;]*$/, 'words on one line without quotes, "\\" and ";"')

/** `gc` of `deployment.nix` and of `deployment.hydra`: a timer for garbage collection. */
export const GcOptions = z.strictObject({
  automatic: documented(z.boolean().default(false), 'collects garbage by a timer', true),
  dates: documented(
    RecurringTime.default('weekly'),
    'time of the collection: a calendar event of systemd, or the time of a cron line',
    '03:15',
  ),
  options: documented(
    CommandWords.default(''),
    'options of nix-collect-garbage(1)',
    '--delete-older-than 30d',
  ),
})

/** `deployment.nix`: options of the set-up task `nix`. */
export const NixTaskOptions = z.strictObject({
  substituters: documented(
    z.array(nixWord).default([]),
    "binary caches that the machine's Nix uses, in place of Nix' own default; an empty list means none",
    ['https://cache.example.org'],
  ),
  trustedPublicKeys: documented(
    z.array(nixWord).default([]),
    "public keys of binary caches that the machine's Nix trusts, besides Nix' own default",
    ['cache.example.org-1:CNHJZBh9K4tP3EKF6FkkgeVYsS3ohTl+oS0Qa8bezVs='],
  ),
  trustedUsers: documented(
    z.array(nixWord).default([]),
    "users and groups (`@wheel`) that the machine's Nix daemon trusts, besides root",
    ['alice', '@wheel'],
  ),
  allowedUris: documented(
    z.array(nixWord).default([]),
    "URIs that a restricted evaluation, such as Hydra's, may fetch from, besides its inputs",
    ['https://git.example.org/'],
  ),
  extraOptions: documented(
    extraOptions,
    "further lines of `nix.conf`. Every user of the machine may read the lines; `!include` can name a file that holds a secret. A line replaces hydra-ops' line of the same name (`sandbox`, `sandbox-paths`, `sync-before-registering`, `keep-outputs`, `keep-derivations`); `extra-NAME` adds to the value. A setting with an option of its own in this table is refused",
    'max-jobs = 4',
  ),
  gc: documented(GcOptions.prefault({}), 'garbage collection', { automatic: true }),
  autoOptimiseStore: documented(z.boolean().default(false), 'stores equal files of the Nix store once', true),
})

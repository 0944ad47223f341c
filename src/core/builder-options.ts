import * as z from 'zod'
import { cacheUser, operatorName } from './builder-offer.js'
import { MachineName } from './names.js'
import { documented, shownAs } from './option-docs.js'

/** One field of a machines file, where blanks separate fields, commas separate values and "#" begins a comment. */
const entryWord = z.string().regex(/^[A-Za-z0-9._+-]+$/, 'letters, digits and "._+-"')

const features = z.array(entryWord)

/** A user of the machine, in the form that Debian's useradd(8) accepts. */
const unixUser = z
  .string()
  .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'a user name: small letters, digits, "_" and "-"')

const address = z
  .string()
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/, 'a host name or an IPv4 address')

/** `deployment.builder.cache`: machines that build on this machine also fetch from it. */
const BuilderCacheOptions = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'lets these machines fetch paths of the store, each signed by a key that the builder makes and keeps',
    true,
  ),
  keyName: documented(
    z
      .string()
      .regex(/^[^\s:-][^\s:]*$/, 'a key name such as "b1.example.org-1", without ":" and blanks')
      .nullish(),
    'name of the key, which is part of each signature; an existing key is never replaced or renamed',
    'b1.example.org-1',
    { shownDefault: "the deployment's name, the machine's name and `-builder-1`" },
  ),
})

/** `deployment.builder`: the machine builds for other machines of the deployment. */
export const BuilderOptions = z
  .strictObject({
    enable: documented(
      z.boolean().default(false),
      'lets the machines in `for` build here; when it is dropped, their access is removed',
      true,
    ),
    for: documented(
      z.union([z.literal(operatorName), z.array(MachineName)]).default([]),
      'machines of the deployment that build here: the queue runner of a Hydra, or the Nix daemon of another machine. `"operator"`, alone or in the list, is the Nix of the host that runs hydra-ops',
      ['ci'],
    ),
    systems: documented(
      z.array(entryWord).min(1).nullish(),
      'systems that the machine builds for',
      ['x86_64-linux', 'i686-linux'],
      { shownDefault: "the machine's own system, and those in `binfmt.emulatedSystems`" },
    ),
    maxJobs: documented(z.number().int().min(1).nullish(), 'number of simultaneous builds', 4, {
      shownDefault: 'the number of cores',
    }),
    speedFactor: documented(
      z.number().int().min(1).default(1),
      'relative speed; the builder with the greater number is preferred',
      2,
    ),
    supportedFeatures: documented(
      features.nullish(),
      'features that the machine offers; its own `system-features` get them too',
      ['big-parallel', 'kvm'],
      { shownDefault: '`big-parallel`, `benchmark`, `nixos-test`, and `kvm` where it works' },
    ),
    mandatoryFeatures: documented(
      features.default([]),
      'features that a build must require to be built here',
      ['benchmark'],
    ),
    sshUser: documented(
      unixUser.default('nix-builder'),
      'user for the logins, whom hydra-ops makes, and who can only serve the store',
      'nix-builder',
    ),
    hostName: documented(
      address.nullish(),
      'name or address at which the other machines reach this one',
      'builder.example.org',
      { shownDefault: '`targetHost`, or the name of the machine' },
    ),
    port: documented(
      shownAs('port', z.number().int().min(1).max(65535).default(22)),
      'port of the ssh server, as the other machines reach it',
      2222,
    ),
    wrapper: documented(
      z
        .array(z.string().regex(/^[^\n\r\0]+$/, 'a word without line breaks'))
        .min(1)
        .nullish(),
      'command that enters a Nix which `sshUser` has in a home, by nix-user-chroot or PRoot; hydra-ops logs in as this user, and needs no root for it',
      ['/home/alice/bin/nix-user-chroot', '/home/alice/.nix'],
    ),
    cache: documented(
      BuilderCacheOptions.prefault({}),
      'whether the machines that build here fetch from here too',
      { enable: true },
    ),
  })
  .superRefine((builder, context) => {
    if (!builder.enable) return
    if (builder.for.length === 0)
      context.addIssue({ code: 'custom', path: ['for'], message: 'names no machine that builds here' })
    if (builder.wrapper != null && builder.cache.enable)
      context.addIssue({
        code: 'custom',
        path: ['cache', 'enable'],
        message: 'a Nix in a home has no daemon that serves others; drop cache or wrapper',
      })
    if (['root', 'hydra', 'hydra-queue-runner', 'hydra-www', cacheUser].includes(builder.sshUser))
      context.addIssue({
        code: 'custom',
        path: ['sshUser'],
        message: `'${builder.sshUser}' is a user with other tasks; name a user for builds alone`,
      })
  })
export type BuilderOptions = z.infer<typeof BuilderOptions>

/** Returns the names of the users of a builder. The operator host has a name of its own there. */
export function buildersUsers({ for: users }: Pick<BuilderOptions, 'for'>): readonly MachineName[] {
  return typeof users === 'string' ? [MachineName.parse(users)] : users
}

/** Tells whether the operator host builds on a machine. */
export function isForOperator(builder: Pick<BuilderOptions, 'enable' | 'for'>): boolean {
  return builder.enable && buildersUsers(builder).some((name) => name === operatorName)
}

import * as z from 'zod'
import { BinfmtOptions } from './binfmt-options.js'
import { BuilderOptions } from './builder-options.js'
import { CommonOptions } from './common-options.js'
import { HydraOptions } from './hydra-options.js'
import { NixTaskOptions } from './nix-options.js'
import { documented, shownAs } from './option-docs.js'

/** `deployment.cacheKey`: options of the set-up task `cache-key`. */
const CacheKeyOptions = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'makes a key pair that signs a binary cache; `hydra-ops cache key` shows the public key',
    true,
  ),
  keyName: documented(
    z
      .string()
      .regex(/^[^\s:-][^\s:]*$/, 'a key name such as "cache.example.org-1", without ":" and blanks')
      .nullish(),
    'name of the key, which is part of each signature',
    'cache.example.org-1',
    { shownDefault: '`"DEPLOYMENT-MACHINE-1"`' },
  ),
  directory: documented(
    shownAs('path', z.string().startsWith('/').default('/etc/hydra-ops/cache-key')),
    'folder of both keys on the machine',
    '/etc/nix/cache-key',
  ),
  group: documented(
    z.string().min(1).default('root'),
    'group that may read the secret key, like root',
    'hydra',
  ),
})

/** Options of `deployment.*` on a Debian machine, except for the options of its closure (closure-options.ts). */
export const DebianOptions = CommonOptions.extend({
  aptPackages: documented(
    z.array(z.string().regex(/^[a-z0-9][a-z0-9.+-]*(?:=[^\s=]+)?$/, 'a Debian package name')).default([]),
    'Debian packages, `"name"` or `"name=version"`, which one apt transaction installs',
    ['ripgrep', 'jq=1.6-2.1'],
  ),
  aptProxy: documented(
    z
      .string()
      .regex(
        /^(?:operator:\d{1,5}|https?:\/\/[^\s"\\;{}]+)$/,
        'a URL such as "http://proxy.example.org:3128", or "operator:PORT"',
      )
      .nullish(),
    'proxy for apt; `operator:PORT` is a loopback port of the operator host, which ssh forwards while apt runs',
    'http://proxy.example.org:3128',
    { shownType: 'URL, or `"operator:PORT"`' },
  ),
  nix: documented(NixTaskOptions.prefault({}), 'Nix on the machine', { autoOptimiseStore: true }),
  cacheKey: documented(
    CacheKeyOptions.default({ enable: false, directory: '/etc/hydra-ops/cache-key', group: 'root' }),
    'a key pair that signs a binary cache',
    { enable: true },
  ),
  hydra: documented(HydraOptions.prefault({}), 'a whole Hydra', { enable: true }),
  binfmt: documented(BinfmtOptions.prefault({}), 'emulation of other systems', {
    emulatedSystems: ['aarch64-linux'],
  }),
  builder: documented(BuilderOptions.prefault({}), 'a machine that builds for others', {
    enable: true,
    for: ['ci'],
  }),
})
export type DebianOptions = z.infer<typeof DebianOptions>

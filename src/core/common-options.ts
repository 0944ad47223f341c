import * as z from 'zod'
import { HealthChecks } from './health-checks.js'
import { HydraOptions } from './hydra-options.js'
import { KeyDefinition } from './key-definition.js'
import { NixTaskOptions } from './nix-options.js'
import { documented, shownAs } from './option-docs.js'
import { readSshOptions } from './ssh-options.js'

const noChecks = { cmd: [], http: [], tcp: [], systemd: [] }

const port = shownAs('port', z.number().int().min(1).max(65535))

/** `deployment.cacheKey`: options of the set-up task `cache-key`. */
const CacheKeyOptions = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'make a key pair that signs a binary cache; the public key is shown by `info`',
    true,
  ),
  keyName: documented(
    z
      .string()
      .regex(/^[^\s:-][^\s:]*$/, 'a key name such as "cache.example.org-1", without ":" and blanks')
      .nullish(),
    'name of the key, which stands in each signature',
    'cache.example.org-1',
    { shownDefault: 'made of deployment and machine' },
  ),
  directory: documented(
    shownAs('path', z.string().startsWith('/').default('/etc/hydra-ops/cache-key')),
    'folder of both keys on the machine',
    '/etc/nix/cache-key',
  ),
  group: documented(
    z.string().min(1).default('root'),
    'group that may read the secret key besides root',
    'hydra',
  ),
})

/** What of `deployment.*` does not belong to one provider. */
export const CommonOptions = z.strictObject({
  os: documented(
    z.enum(['nixos', 'debian']).default('nixos'),
    'the kind of machine; `"nixos"` is not there yet',
    'debian',
  ),
  targetEnv: documented(
    z.string().default('none'),
    'the provider: `"libvirtd"` (or `"libvirt"`), `"none"` (or `"ssh"`)',
    'libvirtd',
  ),
  targetHost: documented(
    z.string().min(1).nullish(),
    'provider ssh: address, or a name of your `~/.ssh/config`',
    'web.example.org',
    { shownDefault: "the machine's name" },
  ),
  targetPort: documented(port.nullish(), 'provider ssh: port of the ssh server', 2222, {
    shownDefault: 'what `~/.ssh/config` says, or `22`',
  }),
  targetUser: documented(
    z.string().min(1).nullish(),
    'provider ssh: account that logs in; not root: then `privilegeEscalationCommand` is used',
    'admin',
    { shownDefault: '`"root"`, or what `~/.ssh/config` says' },
  ),
  targetHostKey: documented(
    z.string().min(1).nullish(),
    'provider ssh: the key that the host must show at the first contact',
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIERYHSWUit89S0L2+5H0TFp9S12itndkckU1QTtgGn2X',
  ),
  sshOptions: documented(
    z
      .array(z.string())
      .superRefine((words, found) => {
        for (const message of readSshOptions(words).refused) found.addIssue({ code: 'custom', message })
      })
      .default([]),
    "flags of ssh(1) with a keyword in ssh_config(5) (`-p 2222`, `-i FILE`, `-J HOST`), or `-o Keyword=value`; for hydra-ops' own connections and for `ssh`, `scp` and copies. `-F`, `-L` and other flags for one call are refused; those that would loosen the check of the host key are left out",
    ['-J', 'jump.example.org'],
  ),
  privilegeEscalationCommand: documented(
    z.array(z.string()).default(['sudo', '-H', '--']),
    'how a user who is not root becomes root',
    ['doas'],
  ),
  hasFastConnection: documented(
    z.boolean().default(false),
    'taken over from NixOps; hydra-ops never compresses ssh',
    true,
  ),
  substituteOnDestination: documented(
    z.boolean().default(false),
    'the machine fetches from its substituters what they have, instead of being sent it',
    true,
  ),
  allowLocalDeployment: documented(
    z.boolean().default(false),
    'taken over from Colmena; `true` is refused: not there yet',
    false,
  ),
  buildOnTarget: documented(
    z.boolean().default(false),
    'taken over from Colmena; `true` is refused: not there yet',
    false,
  ),
  tags: documented(z.array(z.string()).default([]), 'names for `--on @tag` and `network.ordering.tags`', [
    'web',
  ]),
  owners: documented(
    z.array(z.string()).default([]),
    'people who answer for the machine: shown by `info --json`',
    ['alice@example.org'],
  ),
  alwaysActivate: documented(z.boolean().default(false), 'activate also when nothing changed', true),
  keys: documented(z.record(z.string(), KeyDefinition).default({}), 'secrets by name', {
    'db.password': { keyFile: './db.password' },
  }),
  healthChecks: documented(HealthChecks.default(noChecks), 'checks at the end of a deploy', {
    tcp: [{ port: 80 }],
  }),
  preDeployChecks: documented(HealthChecks.default(noChecks), 'checks before the machine is touched', {
    tcp: [{ port: 80 }],
  }),
  aptPackages: documented(
    z.array(z.string().regex(/^[a-z0-9][a-z0-9.+-]*(?:=[^\s=]+)?$/, 'a Debian package name')).default([]),
    'Debian packages, `"name"` or `"name=version"`; one apt transaction',
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
    "proxy for apt; `operator:PORT` is a port of the operator host's own loopback, carried by ssh while apt runs",
    'http://proxy.example.org:3128',
    { shownType: 'URL, or `"operator:PORT"`' },
  ),
  nix: documented(NixTaskOptions.prefault({}), "the machine's Nix", { autoOptimiseStore: true }),
  cacheKey: documented(
    CacheKeyOptions.default({ enable: false, directory: '/etc/hydra-ops/cache-key', group: 'root' }),
    'a key pair that signs a binary cache',
    { enable: true },
  ),
  hydra: documented(HydraOptions.prefault({}), 'a whole Hydra', { enable: true }),
})
export type CommonOptions = z.infer<typeof CommonOptions>

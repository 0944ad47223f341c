import * as z from 'zod'
import { optionsSetBy } from './config-general.js'
import { passwordRoles, UserOptions } from './hydra-users.js'
import { GcOptions } from './nix-options.js'
import { documented } from './option-docs.js'

/** A host name of RFC 1123 with at most 253 characters. */
const hostName = z
  .string()
  .max(253)
  .regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/,
    'a host name: letters, digits, "-" and "."',
  )

const port = z.number().int().min(1).max(65535)
const gibibytes = z.number().int().min(0)

/** One line of a file that other programs read line by line. */
const oneLine = z.string().regex(/^[^\n\r]*$/, 'text on one line')

/**
 * Text that Perl's Config::General can hold in a value. Config::General takes a tag with a final "/>" for an empty
 * block.
 */
const configValue = oneLine.refine(
  (text) => !text.includes('/*') && !text.startsWith('<<') && !/\\$|\/>\s*$/.test(text),
  'text without "/*", "<<" at its start and "\\" or "/>" at its end, which hydra.conf cannot hold',
)

const word = z.string().regex(/^[^\s#]+$/, 'text without blanks and "#"')

/** A path that becomes part of unit files, of nginx' configuration and of a store URL. */
const plainPath = z
  .string()
  .regex(/^(?:\/[A-Za-z0-9._+@=-]+)+$/, 'an absolute path of letters, digits and "._+@=-"')

const mailAddress = z.string().regex(/^[^\s@"\\]+@[^\s@"\\]+$/, 'a mail address')

/** An address to listen at; `*` would mean every address. */
const address = z.string().regex(/^[0-9A-Fa-f.:]+$|^localhost$/, 'an IP address or "localhost"')

/** A store path; a derivation arrives as its future path. */
const storePath = z
  .string()
  .regex(/^\/nix\/store\/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+$/, 'a derivation or a store path')

const environment = z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'letters, digits and "_"'), oneLine)

/** One build machine, as in nixpkgs' `nix.buildMachines`. */
const BuildMachine = z.strictObject({
  hostName: documented(
    word,
    'name or address; the machine itself only as "localhost"',
    'builder.example.org',
  ),
  systems: documented(z.array(word).min(1), 'what it builds for', ['x86_64-linux']),
  sshUser: documented(word.nullish(), 'whom the queue runner logs in as', 'builder'),
  sshKey: documented(plainPath.nullish(), 'private key on the machine', '/etc/hydra/builder.key'),
  maxJobs: documented(z.number().int().min(1).default(1), 'builds at once', 4),
  speedFactor: documented(z.number().int().min(1).default(1), 'the greater, the sooner it is chosen', 2),
  supportedFeatures: documented(z.array(word).default([]), 'features it offers', ['big-parallel', 'kvm']),
  mandatoryFeatures: documented(z.array(word).default([]), 'features a build must want', ['benchmark']),
  publicHostKey: documented(word.nullish(), 'base64 of its host key', 'c3NoLWVkMjU1MTkgQUFBQQ=='),
})
export type BuildMachine = z.infer<typeof BuildMachine>

const Database = z.strictObject({
  name: documented(
    z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'small letters, digits and "_"')
      .default('hydra'),
    'the database; its owner is the role "hydra"',
    'hydra',
  ),
  identMap: documented(
    z.string().nullish(),
    'lines of pg_ident.conf instead of the five that Hydra needs',
    'hydra-users hydra hydra\nhydra-users root hydra',
  ),
  authentication: documented(
    oneLine.nullish(),
    'line of pg_hba.conf instead of the one that Hydra needs; stands before the general ones',
    'local hydra all ident map=hydra-users',
  ),
})

const Cache = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'a static, signed binary cache of all that Hydra builds',
    true,
  ),
  keyName: documented(
    z
      .string()
      .regex(/^[^\s:-][^\s:]*$/, 'a key name such as "cache.example.org-1"')
      .nullish(),
    'name of the signing key; never changed on a machine that has one (default: deployment-machine-1)',
    'cache.example.org-1',
  ),
  secretKeyFile: documented(
    plainPath.nullish(),
    'where the secret key lies on the machine (default: /etc/nix/MACHINE/secret)',
    '/etc/nix/ci/secret',
  ),
  publicKeyFile: documented(
    plainPath.nullish(),
    'where the public key lies on the machine (default: /etc/nix/MACHINE/public)',
    '/etc/nix/ci/public',
  ),
  directory: documented(plainPath.default('/var/lib/hydra/cache'), 'where the cache lies', '/srv/cache'),
})

const NixServe = z.strictObject({
  enable: documented(z.boolean().default(false), "serve the machine's whole store, signed", true),
  package: documented(storePath.nullish(), "nix-serve; nixpkgs' where there is one", 'pkgs.nix-serve'),
  port: documented(port.default(5000), 'where it listens', 5000),
  bindAddress: documented(address.default('127.0.0.1'), 'address it listens at', '127.0.0.1'),
})

const Nginx = z.strictObject({
  enable: documented(z.boolean().default(false), 'a reverse proxy before Hydra and its caches', true),
  hostName: documented(
    hostName.nullish(),
    "Hydra's name there (default: hydra.hostName)",
    'hydra.example.org',
  ),
  serverAliases: documented(z.array(hostName).default([]), 'further names of it', ['ci.example.org']),
  cacheHostName: documented(
    hostName.nullish(),
    'name under which nix-serve, else the static cache, is served at /',
    'cache.example.org',
  ),
  tls: documented(
    z.enum(['none', 'self-signed', 'files', 'acme']).default('none'),
    'encryption; "acme" gets a certificate from Let\'s Encrypt and needs the public internet',
    'self-signed',
  ),
  tlsCertificate: documented(
    plainPath.nullish(),
    'tls = "files": chain on the machine',
    '/etc/ssl/hydra.pem',
  ),
  tlsKey: documented(plainPath.nullish(), 'tls = "files": its key on the machine', '/etc/ssl/hydra.key'),
  acmeEmail: documented(mailAddress.nullish(), 'tls = "acme": whom to warn', 'admin@example.org'),
})

/** The problem of a `nginx.cacheHostName` that is also a name of Hydra. */
export const sharedCacheName = 'is a name of Hydra itself: nginx would never ask the cache'

function hostOf(url: string | null | undefined): string | undefined {
  return url != null && URL.canParse(url) ? new URL(url).hostname : undefined
}

/**
 * `deployment.hydra.*`, which the set-up tasks of a Debian machine follow; NixOS machines will have the same options.
 */
export const HydraOptions = z
  .strictObject({
    enable: documented(z.boolean().default(false), 'a Hydra with all it needs', true),
    package: documented(
      storePath.nullish(),
      "Hydra itself: a derivation or a store path; nixpkgs' where there is one. One of several packages (since 2026) is given joined: with hydra-queue-runner, hydra-builder and, where it is apart, hydra-evaluator",
      'pkgs.hydra',
    ),
    hostName: documented(hostName.nullish(), "its name (default: the machine's)", 'hydra.example.org'),
    url: documented(
      z
        .string()
        .regex(
          /^https?:\/\/[A-Za-z0-9.:[\]-]+\/?$/,
          'a URL without a path, such as "https://hydra.example.org"',
        )
        .nullish(),
      'the URL that users open; by default the published port where the provider has one, else http(s)://hostName. https:// beside nginx.tls = "none" means that a proxy of yours decrypts before the machine',
      'https://hydra.example.org',
    ),
    listenHost: documented(address.default('127.0.0.1'), "address of Hydra's own web server", '127.0.0.1'),
    port: documented(port.default(3000), 'and its port', 3000),
    queueRunnerPort: documented(
      port.default(8080),
      'where the queue runner tells its status, on 127.0.0.1 (Hydra since March 2026)',
      8080,
    ),
    notificationSender: documented(
      mailAddress.nullish(),
      'sender of mails (default: hydra@hostName)',
      'hydra@example.org',
    ),
    smtpHost: documented(
      hostName.nullish(),
      "server that takes Hydra's mails; else postfix of this machine, if enabled",
      'mail.example.org',
    ),
    useSubstitutes: documented(z.boolean().default(false), 'may builds come from other caches?', true),
    extraConfig: documented(
      z.string().default(''),
      'further lines of hydra.conf; an option that they set takes the place of ours. With a store_uri of their own the static cache stays as it is, and nothing new comes into it. Everybody on the machine may read them: a secret goes to a file of its own, named by Include',
      'max_concurrent_evals = 2',
    ),
    extraEnv: documented(
      environment.default({}),
      "further environment of Hydra's services, which everybody on the machine may read",
      {
        HTTPS_PROXY: 'http://proxy.example.org:3128',
      },
    ),
    minimumDiskFree: documented(
      gibibytes.default(0),
      'GiB on /nix/store below which the queue runner is stopped; 0 = never',
      10,
    ),
    minimumDiskFreeEvaluator: documented(
      gibibytes.default(0),
      'GiB on /nix/store below which the evaluator is stopped; 0 = never',
      10,
    ),
    sendStats: documented(
      z.boolean().default(false),
      'send statistics of the queue to a statsd on the machine (UDP port 8125)',
      true,
    ),
    logo: documented(plainPath.nullish(), 'picture on the machine', '/etc/hydra/logo.png'),
    tracker: documented(
      configValue.default(''),
      'HTML in the head of every page',
      '<script src="/x.js"></script>',
    ),
    database: documented(Database.prefault({}), "Hydra's database", { name: 'hydra' }),
    cache: documented(Cache.prefault({}), 'the static binary cache and the signing key', { enable: true }),
    nixServe: documented(NixServe.prefault({}), 'nix-serve', { enable: true }),
    nginx: documented(Nginx.prefault({}), 'the reverse proxy', { enable: true }),
    admin: documented(
      UserOptions.extend({
        userName: documented(passwordRoles.userName, 'name of the first user', 'alice'),
        roles: documented(z.array(passwordRoles.role).default(['admin']), 'what it may do', ['admin']),
      }).nullish(),
      'the first user',
      { userName: 'alice', password: { generate: true } },
    ),
    users: documented(z.record(passwordRoles.userName, UserOptions).default({}), 'further users by name', {
      bob: { roles: ['restart-jobs'], password: { generate: true } },
    }),
    postfix: documented(
      z
        .strictObject({
          enable: documented(
            z.boolean().default(false),
            'postfix, which takes mail from this machine alone and delivers it; one that was set up for more, or another mail server, is left as it is',
            true,
          ),
        })
        .prefault({}),
      'mail of notifications',
      { enable: true },
    ),
    buildMachines: documented(
      z.array(BuildMachine).default([]),
      'who builds; the machine itself, with all it can do, when the list is empty',
      [{ hostName: 'localhost', systems: ['x86_64-linux'], maxJobs: 2 }],
    ),
    gc: documented(GcOptions.prefault({}), 'garbage collection', { automatic: true }),
    autoOptimiseStore: documented(
      z.boolean().default(false),
      'equal files of the store share their blocks',
      true,
    ),
    trustedUsers: documented(z.array(word).default([]), 'whom the Nix daemon trusts besides', ['alice']),
    openFirewall: documented(
      z.boolean().default(false),
      'open the ports of nginx in the firewall, if any',
      true,
    ),
    probe: documented(
      z.boolean().default(true),
      'prove by a build of its own that all of it works: project hydra-ops-probe, which is disabled afterwards',
      false,
    ),
  })
  .superRefine((hydra, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message })
    if (!hydra.enable) return
    const { nginx, admin, users } = hydra
    const files = (nginx.tlsCertificate ?? null) !== null && (nginx.tlsKey ?? null) !== null
    if (nginx.tls === 'files' && !files)
      refuse(['nginx', 'tls'], 'tls = "files" needs tlsCertificate and tlsKey')
    if (nginx.tls === 'acme' && (nginx.acmeEmail ?? null) === null)
      refuse(['nginx', 'tls'], 'tls = "acme" needs acmeEmail')
    if (admin !== null && admin !== undefined && Object.hasOwn(users, admin.userName))
      refuse(['users', admin.userName], `is the same user as admin.userName`)
    if (!hydra.nginx.enable && hydra.nginx.tls !== 'none')
      refuse(['nginx', 'tls'], 'needs nginx.enable = true')
    if (nginx.tls !== 'none' && hydra.url?.startsWith('http:') === true)
      refuse(['url'], 'begins with http://, and nginx.tls encrypts: nginx would lead there and back for ever')
    const { cacheHostName } = nginx
    const names = [nginx.hostName ?? hydra.hostName, ...nginx.serverAliases, hostOf(hydra.url), 'localhost']
    const own = names.map((name) => name?.toLowerCase())
    if (nginx.enable && typeof cacheHostName === 'string' && own.includes(cacheHostName.toLowerCase()))
      refuse(['nginx', 'cacheHostName'], sharedCacheName)
    if (optionsSetBy(hydra.extraConfig).has('gc_roots_dir'))
      refuse(
        ['extraConfig'],
        'gc_roots_dir cannot be replaced: the units of Hydra may write to /nix/var/nix/gcroots/hydra alone',
      )
    const { nixServe } = hydra
    // Only root may listen on lower ports (ip_unprivileged_port_start of Debian), and these services do not run as
    // root.
    if (hydra.port < 1024) refuse(['port'], 'expected a number of at least 1024: hydra-server is not root')
    if (nixServe.enable && nixServe.port < 1024)
      refuse(['nixServe', 'port'], 'expected a number of at least 1024: nix-serve is not root')
    if (nixServe.enable && nixServe.port === hydra.port)
      refuse(['nixServe', 'port'], 'is the port of hydra-server')
    for (const [index, machine] of hydra.buildMachines.entries())
      if (/^(?:127\.|::1$|localhost\.)/.test(machine.hostName))
        refuse(
          ['buildMachines', String(index), 'hostName'],
          'the machine itself is called "localhost": by another name the store would be locked twice',
        )
  })
export type HydraOptions = z.infer<typeof HydraOptions>

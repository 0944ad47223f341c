import * as z from 'zod'
import { optionsSetBy } from './config-general.js'
import { ProjectsOptions, projectFaults } from './hydra-project-options.js'
import { passwordRoles, UserOptions } from './hydra-users.js'
import { GcOptions } from './nix-options.js'
import { documented } from './option-docs.js'

/** A host name according to RFC 1123, with at most 253 characters. */
const hostName = z
  .string()
  .max(253)
  .regex(
    /^(?!-)[A-Za-z0-9-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*$/,
    'a host name: letters, digits, "-" and "."',
  )

const port = z.number().int().min(1).max(65535)
const gibibytes = z.number().int().min(0)

/** Text on one line, for files that other programs read line by line. */
const oneLine = z.string().regex(/^[^\n\r]*$/, 'text on one line')

/**
 * Text that a value in Perl's Config::General can contain. Config::General treats a tag with a final "/>" as an
 * empty block.
 */
const configValue = oneLine.refine(
  (text) => !text.includes('/*') && !text.startsWith('<<') && !/\\$|\/>\s*$/.test(text),
  'text without "/*", "<<" at its start and "\\" or "/>" at its end, which hydra.conf cannot hold',
)

const word = z.string().regex(/^[^\s#]+$/, 'text without blanks and "#"')

/** A path that becomes part of unit files, nginx's configuration and a store URL. */
const plainPath = z
  .string()
  .regex(/^(?:\/[A-Za-z0-9._+@=-]+)+$/, 'an absolute path of letters, digits and "._+@=-"')

const mailAddress = z.string().regex(/^[^\s@"\\]+@[^\s@"\\]+$/, 'a mail address')

/** An address to listen on; `*` is not an address. */
const address = z.string().regex(/^[0-9A-Fa-f.:]+$|^localhost$/, 'an IP address or "localhost"')

/** A store path. A derivation arrives here as the path of its future output. */
const storePath = z
  .string()
  .regex(/^\/nix\/store\/[0-9a-z]{32}-[0-9a-zA-Z+\-._?=]+$/, 'a derivation or a store path')

const environment = z.record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'letters, digits and "_"'), oneLine)

/** One build machine, as in nixpkgs' `nix.buildMachines`. */
const BuildMachine = z.strictObject({
  hostName: documented(
    word,
    'name or address of the builder; the machine itself is only ever "localhost"',
    'builder.example.org',
  ),
  systems: documented(z.array(word).min(1), 'systems that the builder builds for', ['x86_64-linux']),
  sshUser: documented(word.nullish(), 'user as whom the queue runner logs in', 'builder'),
  sshKey: documented(
    plainPath.nullish(),
    'private key for that login, a file on the machine',
    '/etc/hydra/builder.key',
    { shownType: 'path' },
  ),
  maxJobs: documented(z.number().int().min(1).default(1), 'number of simultaneous builds', 4),
  speedFactor: documented(
    z.number().int().min(1).default(1),
    'relative speed; Hydra prefers the builder with the greater number',
    2,
  ),
  supportedFeatures: documented(z.array(word).default([]), 'features that the builder offers', [
    'big-parallel',
    'kvm',
  ]),
  mandatoryFeatures: documented(
    z.array(word).default([]),
    'features that a build must require to be built there',
    ['benchmark'],
  ),
  publicHostKey: documented(word.nullish(), "the builder's host key in base64", 'c3NoLWVkMjU1MTkgQUFBQQ=='),
})
export type BuildMachine = z.infer<typeof BuildMachine>

const Database = z.strictObject({
  name: documented(
    z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,62}$/, 'small letters, digits and "_"')
      .default('hydra'),
    'name of the database, which the role "hydra" owns',
    'hydra',
  ),
  identMap: documented(
    z.string().nullish(),
    "lines of pg_ident.conf in place of hydra-ops' own lines",
    'hydra-users hydra hydra\nhydra-users root hydra',
  ),
  authentication: documented(
    oneLine.nullish(),
    "line of pg_hba.conf in place of hydra-ops' own, before the general lines",
    'local hydra all ident map=hydra-users',
  ),
})

const Cache = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'makes a static, signed binary cache of all paths that Hydra builds',
    true,
  ),
  keyName: documented(
    z
      .string()
      .regex(/^[^\s:-][^\s:]*$/, 'a key name such as "cache.example.org-1"')
      .nullish(),
    'name of the signing key; an existing key is never replaced or renamed',
    'cache.example.org-1',
    { shownDefault: '`"DEPLOYMENT-MACHINE-1"`' },
  ),
  secretKeyFile: documented(
    plainPath.nullish(),
    'file of the secret key on the machine',
    '/etc/nix/ci/secret',
    { shownType: 'path', shownDefault: '`"/etc/nix/MACHINE/secret"`' },
  ),
  publicKeyFile: documented(
    plainPath.nullish(),
    'file of the public key on the machine',
    '/etc/nix/ci/public',
    { shownType: 'path', shownDefault: '`"/etc/nix/MACHINE/public"`' },
  ),
  directory: documented(
    plainPath.default('/var/lib/hydra/cache'),
    'folder of the cache on the machine',
    '/srv/cache',
    { shownType: 'path' },
  ),
})

const NixServe = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    "serves the machine's whole Nix store as a signed binary cache",
    true,
  ),
  package: documented(storePath.nullish(), 'nix-serve, nix-serve-ng or harmonia', 'pkgs.harmonia', {
    shownType: 'package',
    shownDefault: "nixpkgs' `nix-serve-ng` or `nix-serve`, if the network has nixpkgs",
  }),
  port: documented(port.default(5000), 'port of the program', 5000),
  bindAddress: documented(address.default('127.0.0.1'), 'address of the program', '127.0.0.1'),
})

const Nginx = z.strictObject({
  enable: documented(
    z.boolean().default(false),
    'sets up nginx as a reverse proxy for Hydra and its caches',
    true,
  ),
  hostName: documented(hostName.nullish(), "host name of Hydra's site in nginx", 'hydra.example.org', {
    shownDefault: '`hostName`',
  }),
  serverAliases: documented(z.array(hostName).default([]), "further host names of Hydra's site", [
    'ci.example.org',
  ]),
  cacheHostName: documented(
    hostName.nullish(),
    'host name at which nginx serves nix-serve, or the static cache if nix-serve is off',
    'cache.example.org',
  ),
  tls: documented(
    z.enum(['none', 'self-signed', 'files', 'acme']).default('none'),
    'encryption (TLS); "acme" gets a certificate from Let\'s Encrypt, which needs the public internet',
    'self-signed',
  ),
  tlsCertificate: documented(
    plainPath.nullish(),
    'for tls = "files": certificate chain, a file on the machine',
    '/etc/ssl/hydra.pem',
    { shownType: 'path' },
  ),
  tlsKey: documented(
    plainPath.nullish(),
    'for tls = "files": private key, a file on the machine',
    '/etc/ssl/hydra.key',
    { shownType: 'path' },
  ),
  acmeEmail: documented(
    mailAddress.nullish(),
    'for tls = "acme": mail address for Let\'s Encrypt\'s warnings',
    'admin@example.org',
  ),
})

/** Error message for an `nginx.cacheHostName` that is also a host name of Hydra. */
export const sharedCacheName = 'is a name of Hydra itself: nginx would never reach the cache'

function hostOf(url: string | null | undefined): string | undefined {
  return url != null && URL.canParse(url) ? new URL(url).hostname : undefined
}

/**
 * `deployment.hydra.*`, which the set-up tasks of a Debian machine implement. nix/modules/hydra.nix translates the
 * same options to options of NixOS.
 */
export const HydraOptions = z
  .strictObject({
    enable: documented(
      z.boolean().default(false),
      'sets up Hydra with PostgreSQL, Nix and all its services',
      true,
    ),
    package: documented(
      storePath.nullish(),
      'package of Hydra, a derivation or a store path. Hydra since 2026 is several packages: join hydra-queue-runner, hydra-builder and hydra-evaluator with hydra to one package',
      'pkgs.hydra',
      { shownType: 'package', shownDefault: "nixpkgs' `hydra`, if the network has nixpkgs" },
    ),
    hostName: documented(hostName.nullish(), 'host name of Hydra', 'hydra.example.org', {
      shownDefault: "the machine's name",
    }),
    url: documented(
      z
        .string()
        .regex(
          /^https?:\/\/[A-Za-z0-9.:[\]-]+\/?$/,
          'a URL without a path, such as "https://hydra.example.org"',
        )
        .nullish(),
      'URL that users open. An https:// URL together with nginx.tls = "none" means that a proxy of yours decrypts before the machine',
      'https://hydra.example.org',
      {
        shownType: 'URL',
        shownDefault: 'the published port of the machine, or `http(s)://` and the host name',
      },
    ),
    listenHost: documented(
      address.default('127.0.0.1'),
      "address at which Hydra's own web server listens",
      '127.0.0.1',
    ),
    port: documented(port.default(3000), "port of Hydra's own web server", 3000),
    queueRunnerPort: documented(
      port.default(8080),
      'port on 127.0.0.1 at which the queue runner reports its status (Hydra since March 2026)',
      8080,
    ),
    notificationSender: documented(mailAddress.nullish(), "sender of Hydra's mails", 'hydra@example.org', {
      shownDefault: '`"hydra@HOSTNAME"`',
    }),
    smtpHost: documented(hostName.nullish(), "host that takes Hydra's mails", 'mail.example.org', {
      shownDefault: 'postfix on this machine, if enabled',
    }),
    useSubstitutes: documented(
      z.boolean().default(false),
      'lets Hydra fetch builds from other binary caches instead of building them',
      true,
    ),
    extraConfig: documented(
      z.string().default(''),
      "further lines of hydra.conf, which replace hydra-ops' own settings of the same name. A store_uri in these lines ends the filling of the static cache. Every user of the machine may read the lines; Include can name a file that holds a secret",
      'max_concurrent_evals = 2',
    ),
    extraEnv: documented(
      environment.default({}),
      "further environment variables of Hydra's services; every user of the machine may read the values",
      {
        HTTPS_PROXY: 'http://proxy.example.org:3128',
      },
    ),
    minimumDiskFree: documented(
      gibibytes.default(0),
      'GiB; the queue runner is stopped while /nix/store has less free space; 0 means never',
      10,
    ),
    minimumDiskFreeEvaluator: documented(
      gibibytes.default(0),
      'GiB; the evaluator is stopped while /nix/store has less free space; 0 means never',
      10,
    ),
    sendStats: documented(
      z.boolean().default(false),
      'sends statistics of the queue to a statsd on the machine (UDP port 8125)',
      true,
    ),
    logo: documented(
      plainPath.nullish(),
      'logo of the web pages, a picture file on the machine',
      '/etc/hydra/logo.png',
      { shownType: 'path' },
    ),
    tracker: documented(
      configValue.default(''),
      'HTML for the head of every page',
      '<script src="/x.js"></script>',
    ),
    database: documented(Database.prefault({}), "Hydra's database", { name: 'hydra' }),
    cache: documented(Cache.prefault({}), 'the static binary cache and the signing key', { enable: true }),
    nixServe: documented(NixServe.prefault({}), 'nix-serve, or a program in its place', { enable: true }),
    nginx: documented(Nginx.prefault({}), 'the reverse proxy', { enable: true }),
    admin: documented(
      UserOptions.extend({
        userName: documented(passwordRoles.userName, 'name of the first user', 'alice'),
        roles: documented(z.array(passwordRoles.role).default(['admin']), 'roles of the user in Hydra', [
          'admin',
        ]),
      }).nullish(),
      'the first user',
      { userName: 'alice', password: { generate: true } },
    ),
    users: documented(z.record(passwordRoles.userName, UserOptions).default({}), 'further users, by name', {
      bob: { roles: ['restart-jobs'], password: { generate: true } },
    }),
    projects: documented(
      ProjectsOptions,
      'projects with their jobsets, by name. An option that is not set keeps the value that Hydra has. `{ }` removes the last project (deploy --prune)',
      { fleet: { displayName: 'The fleet' } },
    ),
    postfix: documented(
      z
        .strictObject({
          enable: documented(
            z.boolean().default(false),
            'sets up postfix, which takes mail only from this machine and delivers it. An existing mail server stays as it is',
            true,
          ),
        })
        .prefault({}),
      'mail of notifications',
      { enable: true },
    ),
    buildMachines: documented(
      z.array(BuildMachine).default([]),
      'builders; an empty list means the machine itself, with all its systems and features',
      [{ hostName: 'localhost', systems: ['x86_64-linux'], maxJobs: 2 }],
    ),
    gc: documented(GcOptions.prefault({}), 'garbage collection', { automatic: true }),
    autoOptimiseStore: documented(
      z.boolean().default(false),
      'stores equal files of the Nix store once',
      true,
    ),
    trustedUsers: documented(z.array(word).default([]), 'further users whom the Nix daemon trusts', [
      'alice',
    ]),
    openFirewall: documented(
      z.boolean().default(false),
      'opens the ports of nginx in ufw or firewalld',
      true,
    ),
    probe: documented(
      z.boolean().default(true),
      'proves the Hydra with a build in the project hydra-ops-probe, which is disabled afterwards',
      false,
    ),
  })
  .superRefine((hydra, context) => {
    const refuse = (path: string[], message: string) => context.addIssue({ code: 'custom', path, message })
    if (!hydra.enable) return
    const { nginx, admin, users, projects } = hydra
    const userNames = [admin?.userName ?? [], Object.keys(users)].flat()
    for (const { path, say } of projectFaults(projects, userNames)) refuse(['projects', ...path], say)
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
      refuse(['url'], 'begins with http://, but nginx.tls encrypts: nginx would redirect in an endless loop')
    const { cacheHostName } = nginx
    const names = [nginx.hostName ?? hydra.hostName, ...nginx.serverAliases, hostOf(hydra.url), 'localhost']
    const own = names.map((name) => name?.toLowerCase())
    if (nginx.enable && typeof cacheHostName === 'string' && own.includes(cacheHostName.toLowerCase()))
      refuse(['nginx', 'cacheHostName'], sharedCacheName)
    if (optionsSetBy(hydra.extraConfig).has('gc_roots_dir'))
      refuse(
        ['extraConfig'],
        'gc_roots_dir cannot be replaced: the units of Hydra may write only to /nix/var/nix/gcroots/hydra',
      )
    const { nixServe } = hydra
    // Only root may listen on lower ports (Debian's ip_unprivileged_port_start).
    if (hydra.port < 1024) refuse(['port'], 'expected a number of at least 1024: hydra-server is not root')
    if (nixServe.enable && nixServe.port < 1024)
      refuse(['nixServe', 'port'], 'expected a number of at least 1024: nix-serve is not root')
    if (nixServe.enable && nixServe.port === hydra.port)
      refuse(['nixServe', 'port'], 'is the port of hydra-server')
    for (const [index, machine] of hydra.buildMachines.entries())
      if (/^(?:127\.|::1$|localhost\.)/.test(machine.hostName))
        refuse(
          ['buildMachines', String(index), 'hostName'],
          'the machine itself is called "localhost": another name would lock the store twice',
        )
  })
export type HydraOptions = z.infer<typeof HydraOptions>

import { type HydraSettings, reachedAt } from '../hydra/settings.js'

/** Where the static cache is served beside Hydra. */
export const staticCachePath = '/static-cache/'

/** Where certbot puts what Let's Encrypt asks for. */
export const acmeFolder = '/var/www/hydra-ops-acme'

/** What the text depends on besides the options. */
export interface SiteFacts {
  /** The kernel has IPv6: without it \`listen [::]\` ends nginx. */
  readonly ipv6: boolean
  readonly certificate: string
  readonly key: string
}

/** The names under which Hydra is asked for: also that of the published port, which is an address. */
export function serverNames({ options, hostName, url }: HydraSettings): string[] {
  const published = new URL(url).hostname.replace(/^\[|\]$/g, '')
  return [
    ...new Set([options.nginx.hostName ?? hostName, ...options.nginx.serverAliases, published, 'localhost']),
  ]
}

/** nginx' configuration of Hydra and its caches: a file of its own among Debian's sites. */
export function siteText(settings: HydraSettings, facts: SiteFacts): string {
  const { options, url } = settings
  const { tls, cacheHostName } = options.nginx
  const names = serverNames(settings).join(' ')
  const hydra = ['client_max_body_size 100m;', ...hydraLocation(settings), ...staticCache(settings)]
  const cache = cacheServer(settings)
  const servers =
    tls === 'none'
      ? [server(names, [...listen(80, facts)], hydra)]
      : [
          server(names, [...listen(443, facts, ' ssl')], [...certificate(facts), ...hydra]),
          server(
            names,
            [...listen(80, facts)],
            [
              ...acme(tls),
              ...staticCache(settings),
              ...block('location /', [`return 301 ${url}$request_uri;`]),
            ],
          ),
        ]
  // A cache needs no encryption, since what it serves is signed; so it has none on port 80 whatever tls is.
  const caches =
    cacheHostName == null || cache === undefined
      ? []
      : [
          server(cacheHostName, [...listen(80, facts)], [...(tls === 'none' ? [] : acme(tls)), ...cache]),
          ...(tls === 'none'
            ? []
            : [server(cacheHostName, [...listen(443, facts, ' ssl')], [...certificate(facts), ...cache])]),
        ]
  return `# Written by hydra-ops (set-up task "nginx"); changes made here are overwritten.\n${[...servers, ...caches].join('')}`
}

function listen(port: number, { ipv6 }: SiteFacts, more = ''): string[] {
  return [`listen ${port}${more};`, ...(ipv6 ? [`listen [::]:${port}${more};`] : [])]
}

function certificate({ certificate: file, key }: SiteFacts): string[] {
  return [`ssl_certificate ${file};`, `ssl_certificate_key ${key};`]
}

function acme(tls: string): string[] {
  return tls === 'acme' ? block('location /.well-known/acme-challenge/', [`root ${acmeFolder};`]) : []
}

function hydraLocation({ options }: HydraSettings): string[] {
  const { listenHost, port } = options
  // Behind TLS: Hydra takes this as its own base as it is, whatever the port of its own hop (recorded).
  const base = options.nginx.tls === 'none' ? [] : ['proxy_set_header X-Request-Base https://$http_host;']
  return block('location /', [...proxyTo(reachedAt(listenHost), port), ...base, 'proxy_read_timeout 120s;'])
}

/** \`$http_host\`, for \`$host\` drops a published port: Hydra then refuses the login (measured). */
function proxyTo(host: string, port: number): string[] {
  return [
    `proxy_pass http://${host.includes(':') ? `[${host}]` : host}:${port};`,
    'proxy_set_header Host $http_host;',
    'proxy_set_header X-Real-IP $remote_addr;',
    'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    'proxy_set_header X-Forwarded-Proto $scheme;',
  ]
}

const cacheTypes = [
  ...block('types', ['text/x-nix-narinfo narinfo;', 'application/x-nix-nar nar xz zst bz2;']),
  'default_type application/octet-stream;',
  // What is there once stays as it is: names are hashes.
  'expires 1d;',
]

function staticCache({ options }: HydraSettings): string[] {
  if (!options.cache.enable) return []
  return block(`location ${staticCachePath}`, [`alias ${options.cache.directory}/;`, ...cacheTypes])
}

/** nix-serve where there is one: it has the whole store. Undefined = there is no cache. */
function cacheServer({ options }: HydraSettings): string[] | undefined {
  const { nixServe, cache } = options
  if (nixServe.enable) return block('location /', proxyTo(reachedAt(nixServe.bindAddress), nixServe.port))
  if (!cache.enable) return undefined
  return [`root ${cache.directory};`, ...cacheTypes]
}

function server(names: string, listens: readonly string[], lines: readonly string[]): string {
  return `${block('server', [...listens, `server_name ${names};`, ...lines]).join('\n')}\n`
}

function block(head: string, lines: readonly string[]): string[] {
  return [`${head} {`, ...lines.map((line) => `    ${line}`), '}']
}

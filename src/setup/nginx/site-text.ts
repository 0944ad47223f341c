import { createHash } from 'node:crypto'
import type { HydraOptions } from '../../core/hydra-options.js'
import { type HydraSettings, reachedAt } from '../hydra/settings.js'

/** Where the static cache is served beside Hydra. */
export const staticCachePath = '/static-cache/'

/** Where certbot puts what Let's Encrypt asks for. */
export const acmeFolder = '/var/www/hydra-ops-acme'

/** Where the site says which one it is. */
export const markPath = '/.hydra-ops-site'

/** The options of Hydra on which the site depends; other changes do not concern nginx. */
export interface SiteSettings extends Pick<HydraSettings, 'hostName' | 'url' | 'port' | 'tlsEnds'> {
  readonly options: Pick<HydraOptions, 'listenHost' | 'port' | 'nginx'> & {
    readonly cache: Pick<HydraOptions['cache'], 'enable' | 'directory'>
    readonly nixServe: Pick<HydraOptions['nixServe'], 'enable' | 'bindAddress' | 'port'>
  }
}

/** What the text depends on besides the options. */
export interface SiteFacts {
  /** The kernel has IPv6: without it \`listen [::]\` ends nginx. */
  readonly ipv6: boolean
  readonly certificate: string
  readonly key: string
}

/**
 * Lists the names under which Hydra is asked for: also that of the published port, which is an address. They are in small
 * letters, as nginx compares them; it refuses a name that is twice in its map.
 */
export function serverNames({ options, hostName, url }: SiteSettings): string[] {
  const published = new URL(url).hostname.replace(/^\[|\]$/g, '')
  const names = [options.nginx.hostName ?? hostName, ...options.nginx.serverAliases, published, 'localhost']
  return [...new Set(names.map((name) => name.toLowerCase()))]
}

/** Finds the name of the cache, in small letters; none where no cache is served. */
export function cacheNames({ options }: SiteSettings): string[] {
  const { cacheHostName } = options.nginx
  const served = options.cache.enable || options.nixServe.enable
  return served && cacheHostName != null ? [cacheHostName.toLowerCase()] : []
}

/** Lists the ports at which the site listens. */
export function sitePorts({ tlsEnds }: SiteSettings): number[] {
  return tlsEnds === 'nginx' ? [443, 80] : [80]
}

/** Parts of the site that answer apart: Hydra, what leads from the plain port to the encrypted one, and the cache. */
export type SitePart = 'hydra' | 'plain' | 'cache'

/** nginx' configuration of Hydra and its caches: a file of its own among Debian's sites. */
export function siteText(settings: SiteSettings, facts: SiteFacts): string {
  const marks = siteMarks(settings, facts)
  const parts = ['hydra', 'plain', 'cache'] as const
  return parts.reduce<string>(
    (text, part) => text.replaceAll(noMark(part), marks[part]),
    unmarkedText(settings, facts),
  )
}

/** Tells each part of this site from other parts and sites, and from what it was before: a hash of the text. */
export function siteMarks(settings: SiteSettings, facts: SiteFacts): Readonly<Record<SitePart, string>> {
  const text = unmarkedText(settings, facts)
  const mark = (part: SitePart) => createHash('sha256').update(`${part}\n${text}`).digest('hex').slice(0, 32)
  return { hydra: mark('hydra'), plain: mark('plain'), cache: mark('cache') }
}

function noMark(part: SitePart): string {
  return `(mark of ${part})`
}

function unmarkedText(settings: SiteSettings, facts: SiteFacts): string {
  const { options, url } = settings
  const { tls } = options.nginx
  const encrypted = settings.tlsEnds === 'nginx'
  const names = serverNames(settings).join(' ')
  const hydra = ['client_max_body_size 100m;', ...hydraLocation(settings), ...staticCache(settings)]
  const cache = cacheServer(settings)
  const servers = encrypted
    ? [
        server('hydra', names, [...listen(443, facts, ' ssl')], [...certificate(facts), ...hydra]),
        server(
          'plain',
          names,
          [...listen(80, facts)],
          [
            ...acme(tls),
            ...staticCache(settings),
            ...block('location /', [`return 301 ${url}$request_uri;`]),
          ],
        ),
      ]
    : [...aliasMap(settings), server('hydra', names, [...listen(80, facts)], hydra)]
  // A cache needs no encryption, since what it serves is signed; so it has none on port 80 whatever tls is.
  const caches = cacheNames(settings).flatMap((name) =>
    cache === undefined
      ? []
      : [
          server('cache', name, [...listen(80, facts)], [...acme(tls), ...cache]),
          ...(encrypted
            ? [server('cache', name, [...listen(443, facts, ' ssl')], [...certificate(facts), ...cache])]
            : []),
        ],
  )
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

function hydraLocation(settings: SiteSettings): string[] {
  const { listenHost, port } = settings.options
  // Behind TLS: Hydra takes this as its own base as it is, whatever the port of its own hop (recorded).
  const base = { nginx: 'https://$http_host', before: decryptedBase(settings), nowhere: undefined }[
    settings.tlsEnds
  ]
  // What a proxy of the user's decrypted arrives here plain.
  const scheme = settings.tlsEnds === 'before' ? 'https' : '$scheme'
  return block('location /', [
    ...proxyTo(reachedAt(listenHost), port, scheme),
    ...(base === undefined ? [] : [`proxy_set_header X-Request-Base ${base};`]),
    'proxy_read_timeout 120s;',
  ])
}

/** The proxy need not pass the host that users asked for, so the URL is written out; other names are by their host. */
function decryptedBase({ url, options }: SiteSettings): string {
  return options.nginx.serverAliases.length === 0 ? url : '$hydra_ops_base'
}

function aliasMap(settings: SiteSettings): string[] {
  const { url, options, tlsEnds } = settings
  if (tlsEnds !== 'before' || options.nginx.serverAliases.length === 0) return []
  const names = new Set(options.nginx.serverAliases.map((alias) => alias.toLowerCase()))
  const aliases = [...names].map((alias) => `${mapKey(alias)} https://$http_host;`)
  return [`${block('map $host $hydra_ops_base', [`default ${url};`, ...aliases]).join('\n')}\n`]
}

/** Marks the words that nginx' map keeps for itself, which are host names too. */
function mapKey(name: string): string {
  return ['default', 'hostnames', 'include', 'volatile'].includes(name) ? `\\${name}` : name
}

/** \`$http_host\`, for \`$host\` drops a published port: Hydra then refuses the login (measured). */
function proxyTo(host: string, port: number, scheme = '$scheme'): string[] {
  return [
    `proxy_pass http://${host.includes(':') ? `[${host}]` : host}:${port};`,
    'proxy_set_header Host $http_host;',
    'proxy_set_header X-Real-IP $remote_addr;',
    'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    `proxy_set_header X-Forwarded-Proto ${scheme};`,
  ]
}

const cacheTypes = [
  ...block('types', ['text/x-nix-narinfo narinfo;', 'application/x-nix-nar nar xz zst bz2;']),
  'default_type application/octet-stream;',
  // What is there once stays as it is: names are hashes.
  'expires 1d;',
]

function staticCache({ options }: SiteSettings): string[] {
  if (!options.cache.enable) return []
  return block(`location ${staticCachePath}`, [`alias ${options.cache.directory}/;`, ...cacheTypes])
}

/** nix-serve where there is one: it has the whole store. Undefined = there is no cache. */
function cacheServer({ options }: SiteSettings): string[] | undefined {
  const { nixServe, cache } = options
  if (nixServe.enable) return block('location /', proxyTo(reachedAt(nixServe.bindAddress), nixServe.port))
  if (!cache.enable) return undefined
  return [`root ${cache.directory};`, ...cacheTypes]
}

function server(part: SitePart, names: string, listens: readonly string[], lines: readonly string[]): string {
  const mark = block(`location = ${markPath}`, ['default_type text/plain;', `return 200 ${noMark(part)};`])
  // A proxy before it may have another scheme, name and port: a redirect of nginx' own keeps to what was asked.
  const head = [`server_name ${names};`, 'absolute_redirect off;']
  return `${block('server', [...listens, ...head, ...mark, ...lines]).join('\n')}\n`
}

function block(head: string, lines: readonly string[]): string[] {
  return [`${head} {`, ...lines.map((line) => `    ${line}`), '}']
}

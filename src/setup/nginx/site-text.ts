import { createHash } from 'node:crypto'
import type { HydraOptions } from '../../core/hydra-options.js'
import { type HydraSettings, liveLogsPath, liveLogsPort, reachedAt } from '../hydra/settings.js'

/** Path of the static cache on Hydra's site. */
export const staticCachePath = '/static-cache/'

/** Folder in which certbot places its answers to Let's Encrypt. */
export const acmeFolder = '/var/www/hydra-ops-acme'

/** Path at which the site identifies itself. */
export const markPath = '/.hydra-ops-site'

/** Hydra's options that the site depends on; other changes do not concern nginx. */
export interface SiteSettings extends Pick<HydraSettings, 'hostName' | 'url' | 'port' | 'tlsEnds'> {
  readonly options: Pick<HydraOptions, 'listenHost' | 'port' | 'nginx'> & {
    readonly cache: Pick<HydraOptions['cache'], 'enable' | 'directory'>
    readonly nixServe: Pick<HydraOptions['nixServe'], 'enable' | 'bindAddress' | 'port'>
    readonly projects?: Readonly<Record<string, HiddenProject>> | null | undefined
  }
}

interface HiddenProject {
  readonly private?: boolean | null | undefined
}

/** Facts that the text depends on, besides the options. */
export interface SiteFacts {
  /** Whether the kernel has IPv6; nginx exits at `listen [::]` without IPv6. */
  readonly ipv6: boolean
  readonly certificate: string
  readonly key: string
}

/**
 * Lists the names of Hydra, including the address of a published port. The names are in lower case, as nginx compares
 * them, because nginx refuses a map with a repeated name.
 */
export function serverNames({ options, hostName, url }: SiteSettings): string[] {
  const published = new URL(url).hostname.replace(/^\[|\]$/g, '')
  const names = [options.nginx.hostName ?? hostName, ...options.nginx.serverAliases, published, 'localhost']
  return [...new Set(names.map((name) => name.toLowerCase()))]
}

/** Returns the name of the cache, in lower case; empty if no cache is served. */
export function cacheNames({ options }: SiteSettings): string[] {
  const { cacheHostName } = options.nginx
  const served = options.cache.enable || options.nixServe.enable
  return served && cacheHostName != null ? [cacheHostName.toLowerCase()] : []
}

/** Lists the ports of the site. */
export function sitePorts({ tlsEnds }: SiteSettings): number[] {
  return tlsEnds === 'nginx' ? [443, 80] : [80]
}

/**
 * Parts of the site that answer separately: Hydra, the redirect from the plain to the encrypted port, and the cache.
 */
export type SitePart = 'hydra' | 'plain' | 'cache'

/** Writes nginx's configuration for Hydra and its caches, as a separate file among Debian's sites. */
export function siteText(settings: SiteSettings, facts: SiteFacts): string {
  const marks = siteMarks(settings, facts)
  const parts = ['hydra', 'plain', 'cache'] as const
  return parts.reduce<string>(
    (text, part) => text.replaceAll(noMark(part), marks[part]),
    unmarkedText(settings, facts),
  )
}

/**
 * Computes a mark for each part, as a hash of the text. The mark differs from the marks of other parts, other sites
 * and earlier versions.
 */
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
  const hydra = [
    'client_max_body_size 100m;',
    ...hydraLocation(settings),
    ...liveLogs(settings),
    ...staticCache(settings),
  ]
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
  // A cache needs no encryption, because its contents are signed. The cache is therefore on port 80 with and without
  // TLS.
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
  return block('location /', [...toHydra(settings), 'proxy_read_timeout 120s;'])
}

/** Writes the directives that forward requests to Hydra. */
function toHydra(settings: SiteSettings, path = ''): string[] {
  const { listenHost, port } = settings.options
  // Hydra takes this header unchanged as its base URL, and ignores the port of its own connection (recorded).
  const base = { nginx: 'https://$http_host', before: decryptedBase(settings), nowhere: undefined }[
    settings.tlsEnds
  ]
  // The user's own proxy decrypts, and forwards its requests here over plain HTTP.
  const scheme = settings.tlsEnds === 'before' ? 'https' : '$scheme'
  return [
    ...proxyTo(reachedAt(listenHost), `${port}${path}`, scheme),
    ...(base === undefined ? [] : [`proxy_set_header X-Request-Base ${base};`]),
  ]
}

/** Path at which nginx itself asks Hydra whether a visitor may see logs. */
const visitorPath = '/.hydra-ops-visitor'

/**
 * Writes the path of hydra-ws, which newer Hydras have. hydra-ws requires no login, and serves pages of every site
 * (read in its source). nginx therefore refuses pages of other sites, and queries Hydra about the visitor. The query
 * is for the start page, which a Hydra with `private = 1` hides. If a project is private, the query is for the
 * visitor's own account.
 */
function liveLogs(settings: SiteSettings): string[] {
  const isPrivate = Object.values(settings.options.projects ?? {}).some((project) => project.private === true)
  return [
    ...block(`location = ${liveLogsPath}`, [
      `if ($http_origin !~* "${ownOrigins(settings)}") {`,
      '    return 403;',
      '}',
      `auth_request ${visitorPath};`,
      `proxy_pass http://127.0.0.1:${liveLogsPort};`,
      'proxy_http_version 1.1;',
      'proxy_set_header Upgrade $http_upgrade;',
      'proxy_set_header Connection upgrade;',
      // A log may have no new lines for an hour.
      'proxy_read_timeout 1h;',
    ]),
    ...block(`location = ${visitorPath}`, [
      'internal;',
      ...toHydra(settings, isPrivate ? '/current-user' : '/'),
      'proxy_set_header Accept application/json;',
      'proxy_set_header Content-Length "";',
      'proxy_pass_request_body off;',
    ]),
  ]
}

/** Writes the regular expression for pages of this site, on any port, and for programs, which send no origin. */
function ownOrigins(settings: SiteSettings): string {
  const names = serverNames(settings).map((name) =>
    name.includes(':') ? `\\[${name}\\]` : name.replaceAll('.', '\\.'),
  )
  return `^(https?://(${names.join('|')})(:[0-9]+)?)?$`
}

/** Returns the full URL, because the proxy may not pass the original host; aliases use their own host. */
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

/** Escapes host names that nginx's map reserves as keywords. */
function mapKey(name: string): string {
  return ['default', 'hostnames', 'include', 'volatile'].includes(name) ? `\\${name}` : name
}

/**
 * Writes proxy lines with `$http_host`: `$host` drops a published port, and Hydra then refuses the login (measured).
 */
function proxyTo(host: string, port: number | string, scheme = '$scheme'): string[] {
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
  // The files never change, because their names are hashes.
  'expires 1d;',
]

function staticCache({ options }: SiteSettings): string[] {
  if (!options.cache.enable) return []
  return block(`location ${staticCachePath}`, [`alias ${options.cache.directory}/;`, ...cacheTypes])
}

/**
 * Writes the server of the cache. nix-serve has priority, because it has the whole store. `undefined` means no cache.
 */
function cacheServer({ options }: SiteSettings): string[] | undefined {
  const { nixServe, cache } = options
  if (nixServe.enable) return block('location /', proxyTo(reachedAt(nixServe.bindAddress), nixServe.port))
  if (!cache.enable) return undefined
  return [`root ${cache.directory};`, ...cacheTypes]
}

function server(part: SitePart, names: string, listens: readonly string[], lines: readonly string[]): string {
  const mark = block(`location = ${markPath}`, ['default_type text/plain;', `return 200 ${noMark(part)};`])
  // A proxy in front may have another scheme, name and port, so nginx's own redirects stay relative.
  const head = [`server_name ${names};`, 'absolute_redirect off;']
  return `${block('server', [...listens, ...head, ...mark, ...lines]).join('\n')}\n`
}

function block(head: string, lines: readonly string[]): string[] {
  return [`${head} {`, ...lines.map((line) => `    ${line}`), '}']
}

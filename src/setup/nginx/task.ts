import { createHash } from 'node:crypto'
import { failure } from '../../core/errors.js'
import { sharedCacheName } from '../../core/hydra-options.js'
import { type OwnedPlace, ownedService } from '../../core/owned-places.js'
import type { Run } from '../../core/run.js'
import type { SetupTask, TaskRun, TaskState } from '../../core/setup-task.js'
import type { Host } from '../../core/ssh.js'
import { placeFiles } from '../../remote/place-files.js'
import { askMachine, type Facts, fact, runScript } from '../../remote/run-script.js'
import { publicFile } from '../../remote/services.js'
import { portPackages, refuseTakenPort } from '../../remote/taken-port.js'
import { targetScript } from '../../remote/target-scripts.js'
import { hydraSettings } from '../hydra/settings.js'
import {
  addressFailure,
  addressText,
  conflictFailure,
  conflictText,
  conflictValues,
  otherSites,
  refusedFailure,
  refusedText,
} from './conflicts.js'
import { proveSite } from './proof.js'
import {
  acmeFolder,
  cacheNames,
  type SiteFacts,
  type SiteSettings,
  serverNames,
  siteMarks,
  sitePorts,
  siteText,
  staticCachePath,
} from './site-text.js'

/** Deadline for a check and a reload of nginx. An emulated guest on a busy host has needed more than a minute. */
const enableMs = 5 * 60_000

const site = 'hydra-ops'
const siteFile = `/etc/nginx/sites-available/${site}`
const enabledSite = `/etc/nginx/sites-enabled/${site}`
const stagedFile = `/etc/nginx/.${site}.new`
const ownFolder = '/etc/ssl/hydra-ops'

/** Drop-in that restarts nginx: Debian's unit has no Restart, so a killed nginx would otherwise stay dead. */
const restartDropIn = publicFile(
  '/etc/systemd/system/nginx.service.d/hydra.conf',
  '# Written by hydra-ops (set-up task "nginx")\n[Service]\nRestart=on-failure\nRestartSec=2\n',
)

export interface NginxOptions extends SiteSettings {
  readonly openFirewall: boolean
}

export const nginxTask: SetupTask<NginxOptions> = {
  id: 'nginx',
  title: 'nginx in front of Hydra and its caches',
  after: ['binary-cache'],
  stage: 'configure',
  debianPackages: ({ options }) => [
    'nginx',
    ...portPackages,
    ...(options.nginx.tls === 'none' ? [] : ['openssl']),
    ...(options.nginx.tls === 'acme' ? ['certbot'] : []),
  ],
  wanted(machine) {
    const settings = hydraSettings(machine)
    if (settings?.options.nginx.enable !== true) return undefined
    const { hostName, url, port, tlsEnds, options } = settings
    const { listenHost, nginx, openFirewall } = options
    const cache = { enable: options.cache.enable, directory: options.cache.directory }
    const { enable, bindAddress, port: nixServePort } = options.nixServe
    const nixServe = { enable, bindAddress, port: nixServePort }
    const hidden = Object.entries(options.projects ?? {}).filter(([, project]) => project.private === true)
    const projects = Object.fromEntries(hidden.map(([name]) => [name, { private: true }]))
    return {
      hostName,
      url,
      port,
      tlsEnds,
      openFirewall,
      options: { listenHost, port: options.port, nginx, cache, nixServe, projects },
    }
  },
  owns: ({ options }) => ownedByNginx(options.nginx.tls),
  probe: probeNginx,
  apply: applyNginx,
  verify: verifyNginx,
}

function ownedByNginx(tls: SiteSettings['options']['nginx']['tls']): OwnedPlace[] {
  const instead = 'deployment.hydra.nginx, or a file with another name below /etc/nginx/conf.d'
  const sites = [siteFile, enabledSite, stagedFile]
  const certificates = {
    none: [],
    files: [],
    'self-signed': [`${ownFolder}/**`],
    acme: [`${ownFolder}/**`, '/etc/letsencrypt/live/**', '/etc/letsencrypt/archive/**', `${acmeFolder}/**`],
  }
  return [
    ...sites.map((path) => ({ path, instead })),
    ...certificates[tls].map((path) => ({ path, instead: 'deployment.hydra.nginx.tls = "files"' })),
    { path: restartDropIn.path, instead: 'a drop-in with another name in the same folder' },
    ...ownedService('nginx.service'),
  ]
}

/** Returns the name of the certificate, which is also the name of the site. */
function mainName(settings: SiteSettings): string {
  return settings.options.nginx.hostName ?? settings.hostName
}

async function look(host: Host, settings: SiteSettings, run: Run): Promise<Facts> {
  const values = {
    ...conflictValues(settings),
    site: siteFile,
    link: enabledSite,
    drop_in: restartDropIn.path,
    own_folder: ownFolder,
    name: mainName(settings),
  }
  return askMachine(host, { what: 'look at nginx', script: 'tasks/nginx/look', values }, run)
}

function siteFacts(settings: SiteSettings, facts: Facts): SiteFacts {
  const { nginx } = settings.options
  const name = mainName(settings)
  const own = { certificate: `${ownFolder}/${name}.pem`, key: `${ownFolder}/${name}.key` }
  const letsEncrypt = `/etc/letsencrypt/live/${name}`
  const files =
    nginx.tls === 'files'
      ? { certificate: nginx.tlsCertificate ?? '', key: nginx.tlsKey ?? '' }
      : nginx.tls === 'acme' && fact(facts, 'acme') === 'yes'
        ? { certificate: `${letsEncrypt}/fullchain.pem`, key: `${letsEncrypt}/privkey.pem` }
        : own
  return { ipv6: fact(facts, 'ipv6') === 'yes', ...files }
}

async function probeNginx(host: Host, settings: NginxOptions, run: Run): Promise<TaskState> {
  const facts = await look(host, settings, run)
  const file = fact(facts, 'site')
  if (file === '-') return 'needed'
  const text = siteText(settings, siteFacts(settings, facts))
  const { tls } = settings.options.nginx
  const others = otherSites(facts)
  const rules: readonly (readonly [boolean, string])[] = [
    [file === sha256(text), `${siteFile} differs`],
    [fact(facts, 'restart') === sha256(restartDropIn.content), `${restartDropIn.path} differs`],
    [fact(facts, 'link') === 'yes', 'the site of Hydra is not enabled'],
    [fact(facts, 'default') !== 'shipped', "Debian's default site is enabled"],
    [others.refused === '', refusedText(others.refused)],
    [others.names.length === 0, conflictText(others.names)],
    [others.addresses.length === 0, addressText(others.addresses)],
    [fact(facts, 'active') === 'active', `nginx is ${fact(facts, 'active')}`],
    [fact(facts, 'enabled') === 'enabled', 'nginx is not started at boot'],
    [fact(facts, 'reload') === 'no', 'nginx has not reloaded its changed configuration'],
    [
      tls === 'none' || tls === 'files' || fact(facts, 'own') === 'yes',
      'the certificate of the site is missing',
    ],
    [tls !== 'acme' || fact(facts, 'acme') === 'yes', "there is no certificate from Let's Encrypt yet"],
  ]
  const wrong = rules.flatMap(([holds, otherwise]) => (holds ? [] : [otherwise]))
  return wrong.length === 0 ? 'done' : { drifted: wrong.join('; ') }
}

function sha256(text: string | Uint8Array): string {
  return createHash('sha256').update(text).digest('hex')
}

async function applyNginx(host: Host, settings: NginxOptions, run: TaskRun): Promise<Record<string, string>> {
  const { tls, acmeEmail } = settings.options.nginx
  const name = mainName(settings)
  refuseSharedName(host, settings)
  if (tls === 'self-signed' || tls === 'acme') {
    const names = serverNames(settings).map((each) => `${/^[\d.]+$|:/.test(each) ? 'IP' : 'DNS'}:${each}`)
    const values = { folder: ownFolder, name, alternatives: names.join(',') }
    await runScript(host, { what: 'create a certificate', script: 'tasks/nginx/certificate', values }, run)
  }
  await enableSite(host, settings, run)
  if (tls === 'acme' && fact(await look(host, settings, run), 'acme') !== 'yes') {
    run.log(
      `requesting a certificate from Let's Encrypt; the public internet must reach the machine as ${name}`,
    )
    const script = {
      what: "get a certificate from Let's Encrypt",
      script: 'tasks/nginx/acme',
      values: { webroot: acmeFolder, name, email: acmeEmail ?? '' },
    }
    await runScript(host, { ...script, hint: acmeHint(name) }, run)
    await enableSite(host, settings, run)
  }
  if (settings.openFirewall) {
    const values = { ports: sitePorts(settings).map(String) }
    await runScript(host, { what: 'open the firewall', script: 'tasks/nginx/firewall', values }, run)
  }
  return { url: settings.url, ...cacheUrl(settings) }
}

/** Refuses a name of the cache that Hydra's site already uses, such as an alias or its URL's host. */
function refuseSharedName(host: Host, settings: SiteSettings): void {
  const [shared] = cacheNames(settings).filter((name) => serverNames(settings).includes(name))
  if (shared === undefined) return
  throw failure('NGINX', `machine '${host.machine}': nginx.cacheHostName ${shared} ${sharedCacheName}`, {
    machine: host.machine,
    hint: 'set deployment.hydra.nginx.cacheHostName to another name',
  })
}

/** Returns the URL of the cache for clients. */
function cacheUrl({ options, url }: SiteSettings): Record<string, string> {
  if (options.cache.enable) return { cacheUrl: `${url}${staticCachePath.replace(/\/$/, '')}` }
  const { cacheHostName } = options.nginx
  return options.nixServe.enable && cacheHostName != null ? { cacheUrl: `http://${cacheHostName}` } : {}
}

function acmeHint(name: string): string {
  return `the public internet must reach port 80 of the machine as ${name}; otherwise set deployment.hydra.nginx.tls to "self-signed" or "files"`
}

/** Enables the site only if nginx accepts its whole configuration including the site. */
async function enableSite(host: Host, settings: NginxOptions, run: Run): Promise<void> {
  const text = siteText(settings, siteFacts(settings, await look(host, settings, run)))
  const hint = 'stop that program, because nginx needs this port'
  for (const port of sitePorts(settings))
    await refuseTakenPort(host, { port, unit: 'nginx.service', hint }, run)
  await placeFiles(host, [publicFile(stagedFile, text), restartDropIn], {
    run,
    what: 'write the site of Hydra',
  })
  const what = 'enable the site of Hydra'
  const values = { ...conflictValues(settings), staged: stagedFile, site: siteFile, link: enabledSite }
  const result = await host.script(targetScript('tasks/nginx/enable', values), [], {
    signal: run.signal,
    timeoutMs: enableMs,
    what,
  })
  if (result.kind === 'exited' && result.code === broken.before) {
    throw failure(
      'NGINX',
      `machine '${host.machine}': the configuration of nginx already has an error; it was not changed`,
      {
        machine: host.machine,
        hint: 'nginx -t on the machine shows the error; correct it, then deploy again',
        detail: result.stderr.trim(),
      },
    )
  }
  if (result.kind === 'exited' && result.code === 0) return
  if (result.kind === 'exited' && result.code === broken.conflict)
    throw conflictFailure(host.machine, result.stdout.trim().split('\n'))
  const why =
    result.kind === 'exited' && result.code === broken.after
      ? 'nginx rejects the site of Hydra; the old site was restored'
      : 'nginx could not be started'
  throw failure('NGINX', `machine '${host.machine}': ${why}`, {
    machine: host.machine,
    hint: 'journalctl -u nginx on the machine shows more',
    detail: result.stderr.trim(),
  })
}

async function verifyNginx(host: Host, settings: NginxOptions, run: TaskRun): Promise<void> {
  const facts = await look(host, settings, run)
  const others = otherSites(facts)
  if (others.refused !== '') throw refusedFailure(host.machine, others.refused)
  if (others.names.length > 0) throw conflictFailure(host.machine, others.names)
  if (others.addresses.length > 0) throw addressFailure(host.machine, others.addresses)
  if (others.elsewhere.length > 0) run.log(addressText(others.elsewhere))
  await proveSite(host, settings, siteMarks(settings, siteFacts(settings, facts)), run)
}

const broken = { before: 3, after: 4, conflict: 5 } as const

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
import { hydraSettings } from '../hydra/settings.js'
import {
  addressFailure,
  addressText,
  conflictArguments,
  conflictFailure,
  conflictFunctions,
  conflictText,
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

const answerMs = 60_000

const site = 'hydra-ops'
const siteFile = `/etc/nginx/sites-available/${site}`
const enabledSite = `/etc/nginx/sites-enabled/${site}`
const stagedFile = `/etc/nginx/.${site}.new`
const ownFolder = '/etc/ssl/hydra-ops'

/** Debian's unit has no Restart: a killed nginx would stay dead. */
const restartDropIn = publicFile(
  '/etc/systemd/system/nginx.service.d/hydra.conf',
  '# Written by hydra-ops (set-up task "nginx")\n[Service]\nRestart=on-failure\nRestartSec=2\n',
)

export interface NginxOptions extends SiteSettings {
  readonly openFirewall: boolean
}

export const nginxTask: SetupTask<NginxOptions> = {
  id: 'nginx',
  title: 'nginx before Hydra and its caches',
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
    return {
      hostName,
      url,
      port,
      tlsEnds,
      openFirewall,
      options: { listenHost, port: options.port, nginx, cache, nixServe },
    }
  },
  owns: ({ options }) => ownedByNginx(options.nginx.tls),
  probe: probeNginx,
  apply: applyNginx,
  verify: verifyNginx,
}

function ownedByNginx(tls: SiteSettings['options']['nginx']['tls']): OwnedPlace[] {
  const instead = 'deployment.hydra.nginx, or a file of another name below /etc/nginx/conf.d'
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
    { path: restartDropIn.path, instead: 'a drop-in of another name beside it' },
    ...ownedService('nginx.service'),
  ]
}

/** Name of the certificate: that of the site. */
function mainName(settings: SiteSettings): string {
  return settings.options.nginx.hostName ?? settings.hostName
}

async function look(host: Host, settings: SiteSettings, run: Run): Promise<Facts> {
  const args = [settings.options.nginx.tls, mainName(settings), ...conflictArguments(settings)]
  return askMachine(host, { what: 'look at nginx', script: lookScript, args }, run)
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
    [fact(facts, 'reload') === 'no', 'nginx did not read its configuration again since it changed'],
    [tls === 'none' || tls === 'files' || fact(facts, 'own') === 'yes', 'its certificate is gone'],
    [tls !== 'acme' || fact(facts, 'acme') === 'yes', "there is no certificate of Let's Encrypt yet"],
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
    const args = [ownFolder, name, names.join(',')]
    await runScript(host, { what: 'make a certificate', script: certificateScript, args }, run)
  }
  await enableSite(host, settings, run)
  if (tls === 'acme' && fact(await look(host, settings, run), 'acme') !== 'yes') {
    run.log(
      "asking Let's Encrypt for a certificate: the machine must be reached from the public internet as this name",
    )
    const script = {
      what: "get a certificate of Let's Encrypt",
      script: acmeScript,
      args: [acmeFolder, name, acmeEmail ?? ''],
    }
    await runScript(host, { ...script, hint: acmeHint(name) }, run)
    await enableSite(host, settings, run)
  }
  if (settings.openFirewall) {
    const args = sitePorts(settings).map(String)
    await runScript(host, { what: 'open the firewall', script: firewallScript, args }, run)
  }
  return { url: settings.url, ...cacheUrl(settings) }
}

/** Refuses a name of the cache that Hydra has too, also by its machine or by its published port. */
function refuseSharedName(host: Host, settings: SiteSettings): void {
  const [shared] = cacheNames(settings).filter((name) => serverNames(settings).includes(name))
  if (shared === undefined) return
  throw failure('NGINX', `machine '${host.machine}': nginx.cacheHostName ${shared} ${sharedCacheName}`, {
    machine: host.machine,
    hint: 'give deployment.hydra.nginx.cacheHostName another name',
  })
}

/** Where clients find the cache. */
function cacheUrl({ options, url }: SiteSettings): Record<string, string> {
  if (options.cache.enable) return { cacheUrl: `${url}${staticCachePath.replace(/\/$/, '')}` }
  const { cacheHostName } = options.nginx
  return options.nixServe.enable && cacheHostName != null ? { cacheUrl: `http://${cacheHostName}` } : {}
}

function acmeHint(name: string): string {
  return `tls = "acme" needs that the public internet reaches port 80 of the machine as ${name}; without that take "self-signed" or "files"`
}

/** Puts the site in place only when nginx takes the whole of its configuration with it. */
async function enableSite(host: Host, settings: NginxOptions, run: Run): Promise<void> {
  const text = siteText(settings, siteFacts(settings, await look(host, settings, run)))
  const hint = 'stop it: nginx needs this port'
  for (const port of sitePorts(settings))
    await refuseTakenPort(host, { port, unit: 'nginx.service', hint }, run)
  await placeFiles(host, [publicFile(stagedFile, text), restartDropIn], {
    run,
    what: 'write the site of Hydra',
  })
  const what = 'enable the site of Hydra'
  const result = await host.script(enableScript, [stagedFile, ...conflictArguments(settings)], {
    signal: run.signal,
    timeoutMs: answerMs,
    what,
  })
  if (result.kind === 'exited' && result.code === broken.before) {
    throw failure(
      'NGINX',
      `machine '${host.machine}': the configuration of nginx was broken before; it was not changed`,
      {
        machine: host.machine,
        hint: 'nginx -t on the machine says what is wrong; mend it, then deploy again',
        detail: result.stderr.trim(),
      },
    )
  }
  if (result.kind === 'exited' && result.code === 0) return
  if (result.kind === 'exited' && result.code === broken.conflict)
    throw conflictFailure(host.machine, result.stdout.trim().split('\n'))
  const why =
    result.kind === 'exited' && result.code === broken.after
      ? 'nginx refuses the site of Hydra; the old one was put back'
      : 'nginx could not be started'
  throw failure('NGINX', `machine '${host.machine}': ${why}`, {
    machine: host.machine,
    hint: 'journalctl -u nginx on the machine says more',
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
const reloadMark = '/run/hydra-ops/nginx-reload'

/** dpkg(1) keeps the MD5 of each configuration file as the package brought it. */
const defaultFunctions = `
default_state() {
  [ -e /etc/nginx/sites-enabled/default ] || { echo absent; return; }
  shipped=$(dpkg-query -W -f='\${Conffiles}\\n' 'nginx*' 2>/dev/null | sed -n 's|^ /etc/nginx/sites-available/default ||p' | head -n 1 | cut -d' ' -f1)
  if [ "$(md5sum < /etc/nginx/sites-enabled/default | cut -d' ' -f1)" = "$shipped" ]; then echo shipped; else echo changed; fi
}
`

const lookScript = `
${defaultFunctions}
${conflictFunctions}
tls=$1 name=$2
shift 2
conflicts ${enabledSite} "$@"
if [ -f ${siteFile} ]; then echo "site=$(sha256sum < ${siteFile} | cut -d' ' -f1)"; else echo site=-; fi
echo "restart=$(sha256sum < ${restartDropIn.path} 2>/dev/null | cut -d' ' -f1)"
[ "$(readlink /etc/nginx/sites-enabled/${site} 2>/dev/null)" != ${siteFile} ] || echo link=yes
echo "default=$(default_state)"
echo "active=$(systemctl is-active nginx.service 2>/dev/null)"
echo "enabled=$(systemctl is-enabled nginx.service 2>/dev/null)"
if [ -e ${reloadMark} ]; then echo reload=due; else echo reload=no; fi
if [ -e /proc/net/if_inet6 ]; then echo ipv6=yes; fi
if [ -s "${ownFolder}/$name.pem" ] && [ -s "${ownFolder}/$name.key" ]; then echo own=yes; fi
if [ -s "/etc/letsencrypt/live/$name/fullchain.pem" ]; then echo acme=yes; fi
exit 0
`

/**
 * An existing pair is kept: somebody may have told a client to trust it. What is left of half a pair goes first, so that
 * a crash between the two never leaves a key beside the certificate of another one.
 */
const certificateScript = `
folder=$1 name=$2 names=$3
[ ! -s "$folder/$name.pem" ] || [ ! -s "$folder/$name.key" ] || exit 0
umask 077
mkdir -p -- "$folder" && chmod 0755 -- "$folder" || exit 1
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$name" -addext "subjectAltName=$names" \\
  -keyout "$folder/.key.new" -out "$folder/.pem.new" 2> /dev/null || exit 1
chmod 0644 -- "$folder/.pem.new" || exit 1
rm -f -- "$folder/$name.pem" || exit 1
mv -f -- "$folder/.key.new" "$folder/$name.key" || exit 1
mv -f -- "$folder/.pem.new" "$folder/$name.pem" || exit 1
sync "$folder"
`

/** certbot's own timer renews it. */
const acmeScript = `
mkdir -p -- "$1" || exit 1
certbot certonly --non-interactive --agree-tos --email "$3" --webroot --webroot-path "$1" --cert-name "$2" \\
  --domain "$2" --deploy-hook 'systemctl reload nginx' >&2 || exit 1
`

/**
 * A site of ours that a crash left behind must not pass for somebody else's mistake, so the configuration of the
 * others is tried without it.
 */
const enableScript = `
${defaultFunctions}
${conflictFunctions}
staged=$1 file=${siteFile} link=${enabledSite} default=/etc/nginx/sites-enabled/default
shift
test_all() { nginx -t -q; }
mkdir -p /run/hydra-ops && : > ${reloadMark} || exit 1
before=
if [ -L "$link" ]; then before=$(readlink "$link"); rm -f -- "$link" || exit 1; fi
put_back() { [ -z "$before" ] || ln -sfn -- "$before" "$link"; }
test_all || { put_back; rm -f -- "$staged"; exit ${broken.before}; }
rm -f -- "$file.before"
[ ! -e "$file" ] || cp -p -- "$file" "$file.before" || exit 1
off=no
[ "$(default_state)" != shipped ] || { off=$(readlink "$default"); rm -f -- "$default" || exit 1; }
mv -fT -- "$staged" "$file" || exit 1
ln -sfn -- "$file" "$link" || exit 1
undo() {
  if [ -e "$file.before" ]; then mv -fT -- "$file.before" "$file"; else rm -f -- "$file" "$link"; fi
  put_back
  [ "$off" = no ] || ln -sfn -- "\${off:-/etc/nginx/sites-available/default}" "$default"
}
test_all || { undo; exit ${broken.after}; }
found=$(conflicts "$link" "$@" | sed -n 's/^conflict=//p')
if [ -n "$found" ]; then
  undo
  printf '%s\n' "$found"
  exit ${broken.conflict}
fi
rm -f -- "$file.before"
sync "$file"
systemctl daemon-reload || exit 1
[ "$(systemctl is-enabled nginx.service 2>/dev/null)" = enabled ] ||
  systemctl --quiet --no-reload enable nginx.service || exit 1
if [ "$(systemctl is-active nginx.service)" = active ]; then systemctl reload nginx.service || exit 1
else systemctl restart nginx.service || exit 1; fi
rm -f ${reloadMark}
`

/** nftables alone has no rules of its own to add to: what is in its file is the user's. */
const firewallScript = `
open=no
if command -v ufw > /dev/null && ufw status | grep -q '^Status: active'; then
  for port do ufw allow "$port/tcp" || exit 1; done
  open=yes
fi
if [ "$(systemctl is-active firewalld.service 2>/dev/null)" = active ]; then
  for port do firewall-cmd --quiet --permanent --add-port="$port/tcp" && firewall-cmd --quiet --add-port="$port/tcp" || exit 1; done
  open=yes
fi
[ "$open" = yes ] || {
  if [ "$(systemctl is-active nftables.service 2>/dev/null)" = active ]; then
    echo "nftables is active, and its rules are the user's: nothing was opened; it must let in the ports $*"
  else echo 'no firewall is active: nothing was to be opened'; fi
}
`

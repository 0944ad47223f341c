import { execFileSync, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bindTask, type TaskRun } from '../../../src/core/setup-task.js'
import { type HydraSettings, hydraSettings, webEntrance } from '../../../src/setup/hydra/settings.js'
import { WebSession } from '../../../src/setup/hydra/web-session.js'
import { siteText } from '../../../src/setup/nginx/site-text.js'
import { nginxTask } from '../../../src/setup/nginx/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { standInSystemctl } from '../../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../../hydra/private-postgres.js'
import { type Daemon, Daemon as Program, StandIns } from '../../hydra/stand-in-packages.js'

/**
 * The stand-in for Hydra's web server, behind the real nginx with Hydra's site. The front proxy is another real nginx
 * with its own certificate.
 */
const standIns = new StandIns()
const ports = { hydra: 0, plain: 0, encrypted: 0, front: 0 }
const name = 'hydra.example.org'
let postgres: PrivatePostgres | undefined
let root: string
let running: Daemon[] = []

beforeAll(async () => {
  postgres = startPostgres()
  root = mkdtempSync(join(tmpdir(), 'ho-who-answers-'))
  for (const key of ['hydra', 'plain', 'encrypted', 'front'] as const) ports[key] = await freePort()
  const files = ['-keyout', join(root, 'site.key'), '-out', join(root, 'site.pem')]
  const subject = ['-subj', `/CN=${name}`, ...files]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], { stdio: 'ignore' })
  await standIns.build('hydra')
  const env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  writeFileSync(join(standIns.data, 'hydra.conf'), 'using_frontend_proxy = 1\n')
  expect(standIns.run('hydra', ['hydra-init'], env).status).toBe(0)
  const user = ['hydra-create-user', 'alice', '--role', 'admin', '--password-prompt']
  expect(standIns.run('hydra', user, env, 'foobar\nfoobar\n').status).toBe(0)
  const options = ['-f', '-h', '127.0.0.1', '-p', `${ports.hydra}`]
  await standIns.start('hydra', ['hydra-server', ...options], env, async (daemon) =>
    daemon.log.includes('Accepting connections'),
  )
})
afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
  rmSync(root, { recursive: true, force: true })
})
beforeEach(() => {
  mkdirSync(join(root, 'bin'), { recursive: true })
  standInSystemctl(root)
})
afterEach(async () => {
  for (const each of running) await each.stop()
  running = []
})

const certificate = () => `ssl_certificate ${root}/site.pem; ssl_certificate_key ${root}/site.key;`

function machineOf(hydra: Record<string, unknown>) {
  const nginx = { enable: true, ...(hydra.nginx as Record<string, unknown>) }
  return taskMachine({ hydra: { enable: true, hostName: name, port: ports.hydra, ...hydra, nginx } })
}

function settingsOf(hydra: Record<string, unknown>): HydraSettings {
  const settings = hydraSettings(machineOf(hydra))
  if (settings === undefined) throw new Error('no Hydra is wanted')
  return settings
}

/** Tells whether a text is the site of the task, and not a site of the test. */
const isOurs = (site: string) => site.startsWith('# Written by hydra-ops')

/** Writes a configuration with these sites, each in a separate file; nginx reads the files in this order. */
function configure(folder: string, sites: readonly string[], more = ''): string {
  const at = join(root, folder)
  rmSync(at, { recursive: true, force: true })
  mkdirSync(join(at, 'sites-enabled'), { recursive: true })
  const files = sites.map((site, index) => {
    const file = join(at, 'sites-enabled', isOurs(site) ? 'hydra-ops' : `shop-${index}`)
    writeFileSync(file, site)
    return file
  })
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  writeFileSync(
    join(at, 'nginx.conf'),
    `${more} daemon off; pid ${at}/pid; error_log stderr; events {}
http { access_log off; include /etc/nginx/mime.types;
${temporary.map((each) => `${each}_temp_path ${at}/${each};`).join(' ')}
${files.map((file) => `include ${file};`).join('\n')} }`,
  )
  return at
}

/** Starts an nginx with these sites in a separate folder; other ports replace the machine's. */
async function startNginx(folder: string, sites: readonly string[], port: number): Promise<void> {
  const moved = sites.map((site) =>
    site
      .replaceAll(/listen \[::\]:.*\n/g, '\n')
      .replaceAll(/listen 80( default_server)?;/g, `listen 127.0.0.1:${ports.plain}$1;`)
      .replaceAll('listen 443 ssl;', `listen 127.0.0.1:${ports.encrypted} ssl;`),
  )
  const at = configure(folder, moved)
  const argv = ['-p', at, '-c', join(at, 'nginx.conf')]
  const program = new Program(spawn('/usr/sbin/nginx', argv, { stdio: ['ignore', 'pipe', 'pipe'] }))
  running.push(program)
  await program.until(`nginx listens on ${port}`, () => accepts(port))
}

/**
 * Writes these sites as the content of /etc/nginx. The real `nginx -T` reads the content with the real ports, in a
 * separate network with two addresses.
 */
function onDisk(sites: readonly string[]): void {
  const at = configure('disk', sites, 'user root;')
  const address =
    '/usr/sbin/ip link set lo up && /usr/sbin/ip address add 192.0.2.5/32 dev lo && /usr/sbin/ip address add 192.0.2.6/32 dev lo'
  const program = `exec unshare -rn sh -c '${address} && exec /usr/sbin/nginx -p ${at} -c ${at}/nginx.conf "$@"' sh "$@"`
  writeFileSync(join(root, 'bin/nginx'), `#!/bin/sh\n${program}\n`, { mode: 0o755 })
  writeFileSync(
    join(root, 'bin/ip'),
    `#!/bin/sh
[ "$*" != '-o -4 route get 192.0.2.1' ] || { echo '192.0.2.1 via 192.0.2.9 dev eth0 src 192.0.2.5 uid 0 \\    cache '; exit 0; }
echo 'RTNETLINK answers: Network is unreachable' >&2
exit 2
`,
    { mode: 0o755 },
  )
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => resolve(true)).on('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

const siteOf = (hydra: Record<string, unknown>) =>
  siteText(settingsOf(hydra), { ipv6: true, certificate: `${root}/site.pem`, key: `${root}/site.key` })

/** Returns the proof's run, whose connections to the ports 80 and 443 go to other ports here. */
function proofRun(): TaskRun {
  const run = taskRun()
  const moved: Readonly<Record<number, number>> = { 80: ports.plain, 443: ports.encrypted }
  return { ...run, connect: (port, bounds) => run.connect(moved[port] ?? port, bounds) }
}

async function provedUser(hydra: Record<string, unknown>): Promise<string> {
  const session = new WebSession(webEntrance(settingsOf(hydra)), proofRun())
  await session.login('ci', 'alice', 'foobar')
  return (await session.currentUser('ci')).username
}

/** Returns the answer to a login in a browser that opened this address at the front proxy. */
function loginInBrowser(url: string): Promise<{ status: number; location: string }> {
  return new Promise((resolve, reject) => {
    const { host, origin } = new URL(url)
    const sent = request({
      host: '127.0.0.1',
      port: ports.front,
      method: 'POST',
      path: '/login',
      rejectUnauthorized: false,
      headers: { host, origin, 'content-type': 'application/json', accept: 'application/json' },
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      response.resume()
      resolve({ status: response.statusCode ?? 0, location: response.headers.location ?? '' })
    })
    sent.end(JSON.stringify({ username: 'alice', password: 'foobar' }))
  })
}

const front = (
  lines: string,
  to = ports.plain,
) => `server { listen 127.0.0.1:${ports.front} ssl; ${certificate()}
  location / { proxy_pass http://127.0.0.1:${to}; ${lines} } }`
const passesHost = 'proxy_set_header Host $http_host;'
const passesAll = `${passesHost} proxy_set_header X-Forwarded-Proto $scheme;`

describe('a Hydra behind TLS', () => {
  it.each([
    ['its own name', 'https://hydra.example.org', {}],
    ['a port', 'https://hydra.example.org:8443', {}],
    ['an alias', 'https://ci.example.org', { serverAliases: ['ci.example.org'] }],
  ])('is proved at %s, when our nginx decrypts', async (_, url, more) => {
    const tls = { tls: 'files', tlsCertificate: `${root}/site.pem`, tlsKey: `${root}/site.key` }
    const hydra = { url, nginx: { ...tls, ...more } }
    await startNginx('ours', [siteOf(hydra)], ports.encrypted)
    expect(await provedUser(hydra)).toBe('alice')
  })

  it.each<[string, string, string]>([
    ['passes the host', 'https://hydra.example.org', passesHost],
    ['passes all', 'https://hydra.example.org', passesAll],
    ['passes nothing', 'https://hydra.example.org', ''],
    ['passes all, at a port', 'https://hydra.example.org:8443', passesAll],
    ['passes nothing, at a port', 'https://hydra.example.org:8443', ''],
  ])('lets the proof and users in, when a proxy before our nginx decrypts and %s', async (_, url, lines) => {
    const hydra = { url }
    await startNginx('ours', [siteOf(hydra)], ports.plain)
    await startNginx('front', [front(lines)], ports.front)
    expect(await provedUser(hydra)).toBe('alice')
    expect(await loginInBrowser(url)).toEqual({ status: 302, location: `${url}/current-user` })
  })

  it('lets users of a further name in, when a proxy before our nginx decrypts', async () => {
    const hydra = { url: 'https://hydra.example.org', nginx: { serverAliases: ['ci.example.org'] } }
    await startNginx('ours', [siteOf(hydra)], ports.plain)
    await startNginx('front', [front(passesHost)], ports.front)
    for (const url of ['https://ci.example.org', 'https://ci.example.org:8443', 'https://hydra.example.org'])
      expect(await loginInBrowser(url)).toEqual({ status: 302, location: `${url}/current-user` })
    expect((await loginInBrowser('https://stranger.example.org')).status).toBe(500)
  })

  it('lets the proof in without nginx, with the request of a proxy that decrypts', async () => {
    const hydra = { url: 'https://hydra.example.org', nginx: { enable: false } }
    await startNginx('front', [front(passesAll, ports.hydra)], ports.front)
    expect(await provedUser(hydra)).toBe('alice')
    expect((await loginInBrowser(hydra.url)).status).toBe(302)
  })
})

describe('the answering server', () => {
  function task(hydra: Record<string, unknown>) {
    const bound = bindTask(nginxTask)(machineOf(hydra))
    if (bound === undefined) throw new Error('the nginx task is not wanted')
    return bound
  }
  const host = () =>
    new LocalShellHost({ bin: join(root, 'bin'), moved: { '/etc/nginx': join(root, 'disk') } })

  /**
   * Returns the first complaint of the proof about these running sites; an empty text means no complaint. The sites on
   * the disk may differ.
   */
  async function complaint(
    hydra: Record<string, unknown>,
    sites: readonly string[],
    written = sites,
  ): Promise<string> {
    const encrypted = settingsOf(hydra).options.nginx.tls !== 'none'
    await startNginx('ours', sites, encrypted ? ports.encrypted : ports.plain)
    onDisk(written)
    const stop = new AbortController()
    const seen: string[] = []
    const log = (line: string) => {
      seen.push(line)
      stop.abort()
    }
    const failed = await task(hydra)
      .verify(host(), { ...proofRun(), signal: stop.signal, log })
      .then(
        () => '',
        (error: unknown) => String(error),
      )
    return seen[0] ?? failed
  }
  const stranger = (names: string, more = '') =>
    `server { listen 80; server_name ${names}; location / { return 200; } ${more} }\n`
  const tls = () => ({ tls: 'files', tlsCertificate: `${root}/site.pem`, tlsKey: `${root}/site.key` })
  const cached = { nginx: { cacheHostName: 'cache.example.org' }, nixServe: { enable: true } }

  it('is our site, at a plain port and behind TLS', async () => {
    expect(await complaint({}, [siteOf({})])).toBe('')
    for (const each of running.splice(0)) await each.stop()
    const encrypted = {
      nginx: { ...tls(), serverAliases: ['ci.example.org'], cacheHostName: 'c.example.org' },
    }
    const hydra = { ...encrypted, nixServe: { enable: true } }
    expect(await complaint(hydra, [siteOf(hydra)])).toBe('')
  })

  it('is another site of the same name, which nginx read first', async () => {
    const sites = [stranger(name), siteOf({})]
    expect(await complaint({}, sites)).toMatch(/same server_name: \S+\/shop-0 \(hydra\.example\.org\)$/)
  })

  it('is another site of the same name, which is deleted from the disk and still runs', async () => {
    const sites = [stranger(name), siteOf({})]
    expect(await complaint({}, sites, [siteOf({})])).toMatch(
      /another site of nginx answers at http:\/\/hydra\.example\.org$/,
    )
  })

  it('is a default site, when ours is not enabled', async () => {
    const sites = ['server { listen 80 default_server; return 200; }']
    expect(await complaint({}, sites)).toMatch(/another site of nginx answers/)
  })

  it('is our former site, when nginx did not read it again', async () => {
    expect(await complaint({}, [siteOf({ port: 3999 })], [siteOf({})])).toMatch(
      /another site of nginx answers/,
    )
  })

  it.each<[string, Record<string, unknown>, string]>([
    ['an alias', { nginx: { serverAliases: ['ci.example.org'] } }, 'ci.example.org'],
    ['its name, where users open another one', { url: 'http://ci.example.org' }, 'hydra.example.org'],
    [
      'its name in nginx, where users open another one',
      { url: 'http://ci.example.org', nginx: { hostName: 'ci-2.example.org' } },
      'ci-2.example.org',
    ],
    ['the cache', cached, 'cache.example.org'],
  ])('is another site at %s alone', async (_, hydra, taken) => {
    const sites = [stranger(taken), siteOf(hydra)]
    expect(await complaint(hydra, sites, [siteOf(hydra)])).toMatch(
      new RegExp(`another site of nginx answers at http://${taken.replaceAll('.', '\\.')}$`),
    )
  })

  it('is another site at the plain port alone, which leads to the encrypted one', async () => {
    const hydra = { nginx: tls() }
    expect(await complaint(hydra, [stranger(name), siteOf(hydra)], [siteOf(hydra)])).toMatch(
      /another site of nginx answers at http:\/\/hydra\.example\.org$/,
    )
  })

  it('is Hydra’s own part of the site at the name of the cache', async () => {
    const [ours = '', cache = ''] = siteOf(cached).split(/(?=server \{\n.*\n.*\n {4}server_name cache)/)
    expect(cache).toContain('server_name cache.example.org;')
    const joined = ours.replace('server_name hydra', 'server_name cache.example.org hydra')
    expect(await complaint(cached, [joined], [siteOf(cached)])).toMatch(
      /another site of nginx answers at http:\/\/cache\.example\.org$/,
    )
  })

  it('is the cache itself at its name, which has to identify itself', async () => {
    const directory = join(root, 'cache')
    mkdirSync(directory, { recursive: true })
    const cache = { enable: true, directory }
    const hydra = { cache, nginx: { cacheHostName: 'cache.example.org' } }
    writeFileSync(join(directory, 'nix-cache-info'), 'StoreDir: /nix/store\n')
    expect(await complaint(hydra, [siteOf(hydra)])).toBe('')
    for (const each of running.splice(0)) await each.stop()
    writeFileSync(join(directory, 'nix-cache-info'), 'something else\n')
    expect(await complaint(hydra, [siteOf(hydra)])).toMatch(
      /http:\/\/cache\.example\.org\/nix-cache-info has no StoreDir line$/,
    )
    for (const each of running.splice(0)) await each.stop()
    rmSync(join(directory, 'nix-cache-info'))
    expect(await complaint(hydra, [siteOf(hydra)])).toMatch(/nix-cache-info answers with status 404$/)
  })

  it('is another site for all outside clients, when it alone listens at the address of the machine', async () => {
    const shop = 'server { listen 192.0.2.5:80; server_name shop; }\n'
    expect(await complaint({}, [siteOf({})], [shop, siteOf({})])).toMatch(
      /requests to 192\.0\.2\.5:80 reach only another site of nginx: \S+\/shop-0$/,
    )
  })

  it('is our site for most, when another site alone listens at a further address, which is reported', async () => {
    const shop = 'server { listen 192.0.2.6:80; server_name shop; }\n'
    expect(await complaint({}, [siteOf({})], [shop, siteOf({})])).toMatch(
      /^requests to 192\.0\.2\.6:80 reach only another site of nginx: \S+\/shop-0$/,
    )
  })

  it('is our site, when another site listens at another port of that address, at the loopback or at a socket', async () => {
    const listens = ['192.0.2.5:8080', '127.0.0.1:80', '[::1]:8080', `unix:${root}/shop.sock`]
    const shops = listens.map((each) => `server { listen ${each}; server_name shop; }\n`)
    expect(await complaint({}, [siteOf({})], [...shops, siteOf({})])).toBe('')
  })

  it('is our site when a proxy of somebody else decrypts', async () => {
    const hydra = { url: 'https://hydra.example.org', nginx: { serverAliases: ['ci.example.org'] } }
    expect(await complaint(hydra, [siteOf(hydra)])).toBe('')
  })
})

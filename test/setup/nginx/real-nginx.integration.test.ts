import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { bindTask } from '../../../src/core/setup-task.js'
import { nginxTask } from '../../../src/setup/nginx/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { standInSystemctl } from '../../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'

/**
 * The input of tasks for the real `nginx -t`, which reads a folder instead of /etc/nginx. nginx binds the real ports in
 * a separate network. systemd, which starts and reloads nginx, is a stand-in here.
 */
const run = taskRun()
const shipped = 'server { listen 80 default_server; listen [::]:80 default_server; root /var/www/html; }\n'
let root: string
let host: LocalShellHost

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-real-nginx-'))
  for (const folder of ['bin', 'run', 'etc/sites-available', 'etc/sites-enabled'])
    mkdirSync(join(root, folder), { recursive: true })
  standInSystemctl(root)
  program('nginx', `exec unshare -n /usr/sbin/nginx -p '${root}/etc' -c '${root}/etc/nginx.conf' "$@"`)
  program(
    'dpkg-query',
    `printf '\\n ${root}/etc/sites-available/default %s\\n' "$(printf '%s\\n' '${shipped.trim()}' | md5sum | cut -d' ' -f1)"`,
  )
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
  put(
    'nginx.conf',
    `user root; pid ${root}/pid; error_log ${root}/error; events {}
http { access_log off; ${temporary.map((each) => `${each}_temp_path ${root}/${each};`).join(' ')}
include ${root}/etc/sites-enabled/*; }\n`,
  )
  put('sites-available/default', shipped)
  symlinkSync('../sites-available/default', join(root, 'etc/sites-enabled/default'))
  const moved = {
    '/etc/nginx': join(root, 'etc'),
    '/run/hydra-ops': join(root, 'run'),
    '/etc/systemd/system': join(root, 'systemd'),
  }
  host = new LocalShellHost({ bin: join(root, 'bin'), moved, asRoot: true })
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function program(name: string, body: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

function put(path: string, text: string): void {
  writeFileSync(join(root, 'etc', path), text)
}

function wanted(nginx: Record<string, unknown> = {}, hydra: Record<string, unknown> = {}) {
  const options = { enable: true, hostName: 'hydra.example.org', cache: { enable: true }, ...hydra }
  const task = bindTask(nginxTask)(taskMachine({ hydra: { ...options, nginx: { enable: true, ...nginx } } }))
  if (task === undefined) throw new Error('the nginx task is not wanted')
  return task
}

function files(): Record<string, string> {
  const found: [string, string][] = []
  for (const folder of ['sites-available', 'sites-enabled'])
    for (const name of readdirSync(join(root, 'etc', folder)))
      found.push([`${folder}/${name}`, readFileSync(join(root, 'etc', folder, name), 'utf8')])
  return Object.fromEntries(found)
}

describe('a site that was broken before ours', () => {
  it.each<[string, string, RegExp]>([
    [
      'a word that nginx does not know',
      'server { listen 80; server_nam shop; }',
      /unknown directive "server_nam"/,
    ],
    ['a brace that is missing', 'server { listen 80;', /unexpected end of file/],
    ['a file that is not there', 'include /nonexistent/snippet.conf;', /open\(\) "\/nonexistent/],
    [
      'a certificate that is gone',
      'server { listen 443 ssl; ssl_certificate /nonexistent.pem; ssl_certificate_key /nonexistent.key; }',
      /cannot load certificate/,
    ],
    [
      'a host that does not resolve',
      'server { listen 80; location / { proxy_pass http://backend.invalid; } }',
      /host not found/,
    ],
  ])('is called theirs, with the words of nginx, and nothing is changed: %s', async (_, text, words) => {
    put('sites-enabled/shop', `${text}\n`)
    const before = files()
    await expect(wanted().apply(host, run)).rejects.toMatchObject({
      message: "machine 'local': the configuration of nginx already has an error; it was not changed",
      hint: expect.stringContaining('nginx -t'),
      detail: expect.stringMatching(words),
    })
    expect(files()).toEqual(before)
    put('sites-enabled/shop', '# mended\n')
    await wanted().apply(host, run)
    expect(await wanted().probe(host, run)).toBe('done')
  })
})

describe('a site that breaks after ours was enabled', () => {
  it.each<[string, string, string]>([
    [
      'a word that nginx does not know',
      'server { listen 80; server_nam shop; }',
      'unknown directive "server_nam"',
    ],
    [
      'a certificate that is gone',
      'server { listen 443 ssl; ssl_certificate /nonexistent.pem; ssl_certificate_key /nonexistent.key; }',
      'cannot load certificate "/nonexistent.pem"',
    ],
    ['a file that is not there', 'include /nonexistent/snippet.conf;', 'open() "/nonexistent/snippet.conf"'],
  ])('is found at the next look, since nginx would not start again: %s', async (_, text, words) => {
    await wanted().apply(host, run)
    put('sites-enabled/shop', `${text}\n`)
    const said = 'nginx rejects its configuration, and cannot restart: '
    expect(await wanted().probe(host, run)).toEqual({
      drifted: expect.stringMatching(new RegExp(`^${literal(said)}.*${literal(words)}`)),
    })
    await expect(wanted().verify(host, run)).rejects.toMatchObject({
      message: expect.stringContaining(said),
      hint: expect.stringContaining('nginx -t'),
    })
    put('sites-enabled/shop', '# mended\n')
    expect(await wanted().probe(host, run)).toBe('done')
  })
})

function literal(text: string): string {
  return text.replace(/[[\]().]/g, '\\$&')
}

describe('the site of Hydra', () => {
  it('coexists with others: a default site, a site of the same name on another port, a site called `localhost`', async () => {
    rmSync(join(root, 'etc/sites-enabled/default'))
    put('sites-enabled/shop', 'server { listen 80 default_server; server_name shop; }\n')
    put('sites-enabled/other', 'server { listen 8081; server_name hydra.example.org; }\n')
    put('sites-enabled/local', 'server { listen 80; server_name localhost; }\n')
    await wanted({ cacheHostName: 'cache.example.org' }).apply(host, run)
    expect(await wanted({ cacheHostName: 'cache.example.org' }).probe(host, run)).toBe('done')
  })

  it('takes the place of Debian’s own site, which declares itself the default', async () => {
    put('sites-available/default', shipped)
    await wanted().apply(host, run)
    expect(existsSync(join(root, 'etc/sites-enabled/default'))).toBe(false)
  })

  it('is refused when its certificate is missing, and the former site stays', async () => {
    await wanted().apply(host, run)
    const before = files()
    const tls = wanted({ tls: 'files', tlsCertificate: '/nonexistent.pem', tlsKey: '/nonexistent.key' })
    await expect(tls.apply(host, run)).rejects.toMatchObject({
      message: "machine 'local': nginx rejects the site of Hydra; the old site was restored",
      detail: expect.stringContaining('cannot load certificate "/nonexistent.pem"'),
    })
    expect(files()).toEqual(before)
  })
})

describe('another site with a name of Hydra', () => {
  it.each<[string, string, string]>([
    ['that nginx reads first', 'a-shop', 'server { listen 80; server_name hydra.example.org; }'],
    [
      'that nginx reads last, among other names and lines',
      'shop',
      'server { listen 80; # server_name other;\n server_name shop\n  "HYDRA.example.org"; }',
    ],
  ])('is an error that names its file, and nothing is changed: %s', async (_, name, text) => {
    put(`sites-enabled/${name}`, `${text}\n`)
    const before = files()
    await expect(wanted().apply(host, run)).rejects.toMatchObject({
      message: `machine 'local': another site of nginx has the same server_name: ${root}/etc/sites-enabled/${name} (hydra.example.org)`,
      hint: expect.stringContaining('remove the name from that file'),
    })
    expect(files()).toEqual(before)
  })

  it('is found at the next look when it comes later, and the old site of Hydra stays', async () => {
    await wanted().apply(host, run)
    put('sites-enabled/a-shop', 'server { listen 80; server_name hydra.example.org; }\n')
    const before = files()
    const drifted = `another site of nginx has the same server_name: ${root}/etc/sites-enabled/a-shop (hydra.example.org)`
    expect(await wanted().probe(host, run)).toEqual({ drifted })
    await expect(wanted().verify(host, run)).rejects.toThrow(drifted)
    await expect(wanted({ serverAliases: ['ci.example.org'] }).apply(host, run)).rejects.toThrow(drifted)
    expect(files()).toEqual(before)
  })

  it('counts as a conflict also with the name of the cache, and every file is named', async () => {
    put('sites-enabled/a-shop', 'server { listen 80; server_name cache.example.org; }\n')
    put('sites-enabled/b-shop', 'server { listen 80; server_name cache.example.org; }\n')
    await expect(wanted({ cacheHostName: 'cache.example.org' }).apply(host, run)).rejects.toThrow(
      /a-shop \(cache\.example\.org\), \S+b-shop \(cache\.example\.org\)$/,
    )
  })

  it('is found when the names are written with capitals, here and there', async () => {
    put('sites-enabled/shop', 'server { listen 80; server_name CI.Example.org; }\n')
    const task = wanted({ hostName: 'Hydra.Example.ORG', serverAliases: ['Ci.example.org'] })
    await expect(task.apply(host, run)).rejects.toThrow(/sites-enabled\/shop \(ci\.example\.org\)$/)
  })

  it('is found when its name or its port stands in an included file', async () => {
    put('names', 'server_name hydra.example.org;\n')
    put('sites-enabled/a-shop', `server { listen 80; include ${root}/etc/names; }\n`)
    await expect(wanted().apply(host, run)).rejects.toThrow(/etc\/names \(hydra\.example\.org\)$/)
    put('names', 'listen 80;\n')
    put('sites-enabled/a-shop', `server { include ${root}/etc/names; server_name hydra.example.org; }\n`)
    await expect(wanted().apply(host, run)).rejects.toThrow(/sites-enabled\/a-shop \(hydra\.example\.org\)$/)
  })

  it.each<[string, string]>([
    ['no port', ''],
    ['the address of all', 'listen *:80;'],
    ['a range of ports', 'listen 78-81;'],
    ['the address of all of IPv6', 'listen [::]:80 ipv6only=on;'],
  ])('is the only site that is named, among sites on other ports: it says %s', async (_, listen) => {
    put('sites-enabled/a-shop', `server { ${listen} server_name hydra.example.org; }\n`)
    put('sites-enabled/b-shop', 'server { listen 8090; server_name hydra.example.org; }\n')
    put('sites-enabled/c-shop', 'server { listen 127.0.0.1:8080; server_name hydra.example.org; }\n')
    put(
      'sites-enabled/d-shop',
      'server { listen 80; server_name d; }\nserver { listen 81; server_name hydra.example.org; }\n',
    )
    await expect(wanted().apply(host, run)).rejects.toThrow(
      /same server_name: \S+a-shop \(hydra\.example\.org\)$/,
    )
  })

  it.each<[string, string]>([
    ['a port', 'listen 8090;'],
    ['an address', 'listen 127.0.0.1:80;'],
    ['a port that begins like ours', 'listen 8080;'],
  ])('is not a conflict when two foreign sites share %s, which Hydra does not have', async (_, listen) => {
    for (const name of ['a-shop', 'b-shop'])
      put(`sites-enabled/${name}`, `server { ${listen} server_name hydra.example.org; }\n`)
    await wanted().apply(host, run)
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it('is not a conflict when only the cache would have the name, and no cache is served', async () => {
    for (const name of ['a-shop', 'b-shop'])
      put(`sites-enabled/${name}`, 'server { listen 80; server_name cache.example.org; }\n')
    const nginx = { enable: true, cacheHostName: 'cache.example.org' }
    const task = wanted(nginx, { cache: { enable: false } })
    await task.apply(host, run)
    expect(await task.probe(host, run)).toBe('done')
  })

  it('is not a conflict when both sites have a name that Hydra does not have', async () => {
    put('sites-enabled/a-shop', 'server { listen 80; server_name shop; }\n')
    put('sites-enabled/b-shop', 'server { listen 80; server_name shop; }\n')
    await wanted().apply(host, run)
    expect(await wanted().probe(host, run)).toBe('done')
  })
})

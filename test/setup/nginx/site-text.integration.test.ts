import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { hydraSettings } from '../../../src/setup/hydra/settings.js'
import { siteText } from '../../../src/setup/nginx/site-text.js'
import { taskMachine } from '../../fakes/task-run.js'

/** The root of the files that the real nginx reads, on other ports that an ordinary user may bind. */
let root: string
let certificate: string
let key: string

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-nginx-'))
  mkdirSync(join(root, 'logs'))
  certificate = join(root, 'site.pem')
  key = join(root, 'site.key')
  const subject = ['-subj', '/CN=hydra.example.org', '-keyout', key, '-out', certificate]
  execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', ...subject], { stdio: 'ignore' })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

function text(hydra: Record<string, unknown>): string {
  const machine = taskMachine({ hydra: { enable: true, hostName: 'hydra.example.org', ...hydra } })
  const settings = hydraSettings({ ...machine, publishedPort: () => ({ host: '127.0.0.1', port: 28080 }) })
  if (settings === undefined) throw new Error('no Hydra is wanted')
  return siteText(settings, { ipv6: true, certificate, key })
}

function accepts(site: string): string {
  const moved = site
    .replaceAll(/listen (\[::\]:)?(80|443)/g, 'listen $110$2')
    .replaceAll(/10(80|443)/g, '20$1')
  const whole = `pid ${root}/pid; error_log ${root}/logs/error; events {}
http { access_log off; include /etc/nginx/mime.types;
${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((each) => `${each}_temp_path ${root}/${each};`).join(' ')}
${moved} }`
  writeFileSync(join(root, 'nginx.conf'), whole)
  const checked = spawnSync('nginx', ['-t', '-q', '-p', root, '-c', join(root, 'nginx.conf')], {
    encoding: 'utf8',
  })
  return checked.status === 0 ? 'accepted' : checked.stderr
}

describe('the site of nginx', () => {
  const all = {
    cache: { enable: true },
    nixServe: { enable: true },
    nginx: { enable: true, serverAliases: ['ci.example.org'], cacheHostName: 'cache.example.org' },
  }

  it.each<[string, Record<string, unknown>]>([
    ['Hydra alone', { nginx: { enable: true } }],
    ['everything', all],
    ['the static cache under a name of its own', { ...all, nixServe: { enable: false } }],
    ['TLS', { ...all, nginx: { ...all.nginx, tls: 'self-signed' } }],
    [
      'a certificate of Let’s Encrypt',
      { ...all, nginx: { ...all.nginx, tls: 'acme', acmeEmail: 'a@example.org' } },
    ],
    ['TLS before it', { ...all, url: 'https://hydra.example.org:8443' }],
    ['TLS before it and no other name', { nginx: { enable: true }, url: 'https://hydra.example.org' }],
    ['IPv6 behind it', { ...all, listenHost: '::1' }],
    [
      'TLS before it and aliases that are twice there',
      {
        url: 'https://hydra.example.org',
        nginx: { enable: true, serverAliases: ['ci.example.org', 'CI.example.org', 'ci.example.org'] },
      },
    ],
    [
      'aliases that are words of nginx',
      {
        url: 'https://hydra.example.org',
        nginx: { enable: true, serverAliases: ['default', 'hostnames', 'include', 'volatile'] },
      },
    ],
  ])('is accepted with %s', (_, hydra) => {
    expect(accepts(text(hydra))).toBe('accepted')
  })

  it('would be rejected with a mistake in it', () => {
    expect(accepts(text(all).replace('server_name', 'server_nam'))).toContain(
      'unknown directive "server_nam"',
    )
  })

  it('passes on the host with its port, the scheme and the client', () => {
    for (const line of [
      'proxy_set_header Host $http_host;',
      'proxy_set_header X-Real-IP $remote_addr;',
      'proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
      'proxy_set_header X-Forwarded-Proto $scheme;',
    ])
      expect(text(all)).toContain(line)
    expect(text(all)).not.toContain('$host;')
  })

  it('answers to all of its names, that of the published port among them, and takes no other site’s place', () => {
    expect(text(all)).toContain('server_name hydra.example.org ci.example.org 127.0.0.1 localhost;')
    expect(text(all)).not.toContain('default_server')
  })

  it('has each of its names once, in small letters, as nginx compares them', () => {
    const serverAliases = ['CI.example.org', 'ci.example.org', 'hydra.EXAMPLE.org']
    expect(text({ ...all, nginx: { ...all.nginx, serverAliases } })).toContain(
      'server_name hydra.example.org ci.example.org 127.0.0.1 localhost;',
    )
  })

  it('asks Hydra for the account of a visitor to logs where a project is private, and else for the start page', () => {
    expect(text(all)).toContain('proxy_pass http://127.0.0.1:3000/;')
    const hidden = text({ ...all, projects: { p: { private: true }, q: {} } })
    expect(hidden).toContain('proxy_pass http://127.0.0.1:3000/current-user;')
    expect(accepts(hidden)).toBe('accepted')
    const encrypted = text({ ...all, nginx: { ...all.nginx, tls: 'self-signed' } })
    expect(encrypted.match(/proxy_set_header X-Request-Base https:\/\/\$http_host;/g)).toHaveLength(2)
  })

  it('shows logs to pages of each of its own names', () => {
    const names = 'hydra\\.example\\.org|ci\\.example\\.org|127\\.0\\.0\\.1|localhost'
    expect(text(all)).toContain(`if ($http_origin !~* "^(https?://(${names})(:[0-9]+)?)?$") {`)
    const inIPv6 = text({ ...all, url: 'http://[2001:db8::1]:8080' })
    expect(inIPv6).toContain('|\\[2001:db8::1\\]|localhost)(:[0-9]+)?)?$"')
    expect(accepts(inIPv6)).toBe('accepted')
  })

  it('redirects everybody to the encrypted site, except for signed content', () => {
    const tls = text({ ...all, nginx: { ...all.nginx, tls: 'self-signed' } })
    expect(tls).toContain('return 301 https://127.0.0.1:28080$request_uri;')
    expect(tls.match(/location \/static-cache\//g)).toHaveLength(2)
  })
})

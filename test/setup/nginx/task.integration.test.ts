import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bindTask } from '../../../src/core/setup-task.js'
import type { Host } from '../../../src/core/ssh.js'
import { nginxTask } from '../../../src/setup/nginx/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { standInSystemctl } from '../../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { CrashingHost, taskContract } from '../task-contract.js'

/**
 * The folder that replaces /etc/nginx for the real scripts. nginx is a stand-in whose `-t` refuses a text that contains
 * "broken". The real nginx reads the same text in site-text.integration.test.ts.
 */
let root: string
let host: LocalShellHost
const run = taskRun()
const shipped = 'as Debian ships it\n'

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-nginx-task-'))
  mkdirSync(join(root, 'bin'))
  standInSystemctl(root)
  standIn(
    'nginx',
    `cat '${root}'/etc/sites-enabled/* 2>/dev/null | grep -q broken && { echo 'a broken line' >&2; exit 1; }; exit 0`,
  )
  standIn(
    'dpkg-query',
    `printf '\\n ${root}/etc/sites-available/default %s\\n' "$(printf 'as Debian ships it\\n' | md5sum | cut -d' ' -f1)"`,
  )
  standIn('ss', `cat "${root}/listens-\${2##*:}" 2>/dev/null`)
  const moved = {
    '/etc/nginx': join(root, 'etc'),
    '/etc/ssl/hydra-ops': join(root, 'ssl'),
    '/run/hydra-ops': join(root, 'run'),
    '/etc/systemd/system': join(root, 'systemd'),
  }
  host = new LocalShellHost({ bin: join(root, 'bin'), moved, asRoot: true })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))
beforeEach(fresh)

function standIn(name: string, body: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

const site = (name: string) => join(root, 'etc/sites-available', name)
const enabled = (name: string) => join(root, 'etc/sites-enabled', name)

function fresh(): void {
  for (const folder of ['etc', 'run', 'ssl']) rmSync(join(root, folder), { recursive: true, force: true })
  for (const name of ['active-nginx.service', 'enabled-nginx.service', 'listens-80', 'listens-443'])
    rmSync(join(root, name), { force: true })
  mkdirSync(join(root, 'etc/sites-available'), { recursive: true })
  mkdirSync(join(root, 'etc/sites-enabled'))
  writeFileSync(site('default'), shipped)
  symlinkSync('../sites-available/default', enabled('default'))
}

function wanted(hydra: Record<string, unknown> = {}) {
  const options = { enable: true, hostName: 'hydra.example.org', nginx: { enable: true }, ...hydra }
  const task = bindTask(nginxTask)(taskMachine({ hydra: options }))
  if (task === undefined) throw new Error('the nginx task is not wanted')
  return task
}

const script = (text: string) => text.replaceAll('@', root)

describe('the nginx task on a stand-in', () => {
  taskContract(() => ({
    host,
    task: wanted({ nginx: { enable: true, tls: 'self-signed' } }),
    verifiable: false,
    placesFiles: true,
    reset:
      script(`rm -rf @/etc/sites-available/hydra-ops @/etc/sites-enabled/hydra-ops @/run/* @/ssl @/active-nginx.service
ln -sfn ../sites-available/default @/etc/sites-enabled/default`),
    damages: {
      'site changed': script('echo x >> @/etc/sites-available/hydra-ops'),
      'site disabled': script('rm @/etc/sites-enabled/hydra-ops'),
      'Debian’s site enabled again': script('ln -sfn ../sites-available/default @/etc/sites-enabled/default'),
      'nginx stopped': script('rm @/active-nginx.service'),
      'nginx disabled': script('rm @/enabled-nginx.service'),
      'not restarted when it is killed': script('rm @/systemd/nginx.service.d/hydra.conf'),
      'certificate gone': script('rm @/ssl/*.pem'),
    },
  }))

  it('turns off Debian’s site only when it is unchanged', async () => {
    await wanted().apply(host, run)
    expect(existsSync(enabled('default'))).toBe(false)
    expect(readFileSync(site('default'), 'utf8')).toBe(shipped)
    fresh()
    writeFileSync(site('default'), 'somebody works with it\n')
    await wanted().apply(host, run)
    expect(existsSync(enabled('default'))).toBe(true)
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it('leaves Debian’s place to a definition, since a site of the user stays there', () => {
    const places = wanted().owns.map(({ path }) => path)
    expect(places).toContain('/etc/nginx/sites-enabled/hydra-ops')
    expect(places).not.toContain('/etc/nginx/sites-enabled/default')
  })

  it('leaves other sites alone', async () => {
    writeFileSync(enabled('shop'), 'a shop\n')
    await wanted().apply(host, run)
    expect(readFileSync(enabled('shop'), 'utf8')).toBe('a shop\n')
  })

  it('changes nothing when the configuration was broken before', async () => {
    writeFileSync(enabled('shop'), 'broken\n')
    await expect(wanted().apply(host, run)).rejects.toMatchObject({
      message: expect.stringContaining('already has an error; it was not changed'),
      detail: 'a broken line',
    })
    expect(readlinkSync(enabled('default'))).toBe('../sites-available/default')
    expect(existsSync(enabled('hydra-ops'))).toBe(false)
  })

  it('puts the old site back when nginx refuses the new one', async () => {
    await wanted().apply(host, run)
    const before = readFileSync(site('hydra-ops'), 'utf8')
    const bad = wanted({ nginx: { enable: true, serverAliases: ['broken.example.org'] } })
    await expect(bad.apply(host, run)).rejects.toThrow('rejects the site of Hydra; the old site was restored')
    expect(readFileSync(site('hydra-ops'), 'utf8')).toBe(before)
    expect(readlinkSync(enabled('hydra-ops'))).toContain('sites-available/hydra-ops')
  })

  it('leaves everything unchanged when the first site is refused', async () => {
    const bad = wanted({ nginx: { enable: true, serverAliases: ['broken.example.org'] } })
    await expect(bad.apply(host, run)).rejects.toThrow('rejects the site')
    expect(existsSync(enabled('hydra-ops'))).toBe(false)
    expect(existsSync(enabled('default'))).toBe(true)
  })

  it('keeps an existing certificate', async () => {
    const tls = wanted({ nginx: { enable: true, tls: 'self-signed' } })
    await tls.apply(host, run)
    const before = readFileSync(join(root, 'ssl/hydra.example.org.pem'), 'utf8')
    await tls.apply(host, run)
    expect(readFileSync(join(root, 'ssl/hydra.example.org.pem'), 'utf8')).toBe(before)
  })

  it('makes a matching pair when half of one was left, also when it is killed meanwhile', async () => {
    const tls = wanted({ nginx: { enable: true, tls: 'self-signed' } })
    const file = (name: string) => join(root, `ssl/hydra.example.org.${name}`)
    const publicKey = (argv: string[]) => execFileSync('openssl', argv, { encoding: 'utf8' })
    // The first steps create the certificate.
    for (let step = 1; step <= 6; step += 1) {
      await tls.apply(host, run)
      rmSync(file('key'))
      const crashing = new CrashingHost(host, step) as unknown as Host
      await expect(tls.apply(crashing, run)).rejects.toThrow()
      await tls.apply(host, run)
      expect(publicKey(['x509', '-noout', '-pubkey', '-in', file('pem')]), `step ${step}`).toBe(
        publicKey(['pkey', '-pubout', '-in', file('key')]),
      )
    }
  })

  it.each<[number, string]>([
    [80, 'none'],
    [80, 'self-signed'],
    [443, 'self-signed'],
  ])('names the holder of port %d with tls = "%s", and changes nothing', async (port, tls) => {
    const line = `LISTEN 0 511 *:${port} *:* users:(("apache2",pid=7,fd=4),("apache2",pid=8,fd=4))\n`
    writeFileSync(join(root, `listens-${port}`), line)
    writeFileSync(join(root, 'active-nginx.service'), '')
    await expect(wanted({ nginx: { enable: true, tls } }).apply(host, run)).rejects.toThrow(
      `port ${port} is taken by apache2 (process 7)`,
    )
    expect(existsSync(enabled('hydra-ops'))).toBe(false)
  })
})

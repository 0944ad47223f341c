import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { bindTask } from '../../src/core/setup-task.js'
import { postfixTask } from '../../src/setup/postfix.js'
import { LocalShellHost } from '../fakes/local-shell-host.js'
import { standInSystemctl } from '../fakes/stand-in-systemctl.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { taskContract } from './task-contract.js'

/**
 * The root of the real scripts' folders. The stand-in for `postconf` reads main.cf without continuation lines; the
 * stand-in for `postfix status` queries the unit. The real postfix runs in postfix.long.test.ts.
 */
let root: string
let host: MailHost
const run = taskRun()

/** The main.cf that Debian's "Satellite system" writes without a relay host. */
const shipped = `# See /usr/share/postfix/main.cf.dist for a commented, more complete version
biff = no
myhostname = web
mydestination = $myhostname, web, localhost.localdomain, , localhost
relayhost =
inet_interfaces = loopback-only
`

class MailHost extends LocalShellHost {
  /** The port of the server that answers instead of port 25. */
  port = 0

  override connectTcp(): Promise<Duplex> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host: '127.0.0.1', port: this.port })
      socket.once('connect', () => resolve(socket))
      socket.once('error', reject)
    })
  }
}

beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-postfix-'))
  mkdirSync(join(root, 'bin'))
  standInSystemctl(root)
  standIn('ss', `cat '${root}/listens' 2>/dev/null; true`)
  standIn('dpkg-query', `[ "$1" = -S ] && echo "exim4-daemon-light: $2"`)
  standIn('uname', 'echo web')
  standIn(
    'postfix',
    `case $1 in status) [ -e '${root}/active-postfix.service' ] ;; stop) rm '${root}/active-postfix.service' ;; esac`,
  )
  standInPostconf()
  const moved = {
    '/etc/postfix': join(root, 'postfix'),
    '/etc/mailname': join(root, 'mailname'),
    '/usr/sbin/sendmail': join(root, 'sendmail'),
    '/run/hydra-ops': join(root, 'run'),
  }
  host = new MailHost({ bin: join(root, 'bin'), moved, asRoot: true })
})
afterAll(() => rmSync(root, { recursive: true, force: true }))
beforeEach(() => fresh())

function standIn(name: string, body: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
}

function standInPostconf(): void {
  standIn(
    'postconf',
    `
main='${root}/postfix/main.cf'
! grep broken "$main" >&2 || exit 1
case $1 in
  -h | -xh)
    if grep -q "^$2 *=" "$main"; then sed -n "s/^$2 *= *//p" "$main"; exit 0; fi
    case $2 in inet_interfaces) echo all ;; mydestination) echo '$myhostname, localhost.$mydomain, localhost' ;; *) echo ;; esac ;;
  -e)
    shift
    for each do
      name=\${each%% =*}
      { grep -v "^$name *=" "$main"; printf '%s\\n' "$each"; } > "$main.tmp" && mv "$main.tmp" "$main"
    done
    echo "$*" >> '${root}/edits' ;;
esac`,
  )
}

const mainFile = () => join(root, 'postfix/main.cf')
const mainText = () => readFileSync(mainFile(), 'utf8')

function fresh(text = shipped): void {
  for (const each of ['postfix', 'run', 'listens', 'edits', 'mailname', 'sendmail', 'calls'])
    rmSync(join(root, each), { recursive: true, force: true })
  for (const each of ['active', 'enabled']) rmSync(join(root, `${each}-postfix.service`), { force: true })
  mkdirSync(join(root, 'postfix'))
  writeFileSync(mainFile(), text)
  standInPostconf()
  run.lines.length = 0
}

function wanted(hydra: Record<string, unknown> = {}) {
  const options = { enable: true, hostName: 'hydra.example.org', postfix: { enable: true }, ...hydra }
  const task = bindTask(postfixTask)(taskMachine({ hydra: options }))
  if (task === undefined) throw new Error('the postfix task is not wanted')
  return task
}

const script = (text: string) => text.replaceAll('@', root)

describe('the postfix task on a stand-in', () => {
  taskContract(() => ({
    host,
    task: wanted(),
    verifiable: false,
    reset: script(`rm -rf @/run/* @/active-postfix.service @/enabled-postfix.service
cat > @/postfix/main.cf <<'END'
${shipped}END`),
    damages: {
      'open to others': script("postconf -e 'inet_interfaces = all'"),
      'mail of others': script("postconf -e 'mydestination = example.org'"),
      'another name': script("postconf -e 'myhostname = other'"),
      stopped: script('rm @/active-postfix.service'),
      'not started at boot': script('rm @/enabled-postfix.service'),
      'a restart that never came': script('mkdir -p @/run; : > @/run/postfix-restart'),
    },
  }))

  it('is wanted only when it is enabled', () => {
    expect(bindTask(postfixTask)(taskMachine({ hydra: { enable: true } }))).toBeUndefined()
    expect(bindTask(postfixTask)(taskMachine({ hydra: { postfix: { enable: true } } }))).toBeUndefined()
  })

  it('asks for postfix when no other mail server is installed, and keeps it from listening to other hosts meanwhile', () => {
    expect(wanted().packages).toEqual(['postfix | mail-transport-agent', 'iproute2'])
    expect(wanted().debconf).toEqual([
      'postfix postfix/main_mailer_type select Satellite system',
      'postfix postfix/relayhost string ',
    ])
  })

  it('listens on the loopback interface, for its own names, and keeps all other settings', async () => {
    writeFileSync(join(root, 'mailname'), 'web.internal.example\n')
    fresh(`${shipped}message_size_limit = 5\n`)
    writeFileSync(join(root, 'mailname'), 'web.internal.example\n')
    expect(await wanted().apply(host, run)).toEqual({ mail: 'postfix, for this machine only' })
    const text = mainText()
    expect(text).toContain('inet_interfaces = loopback-only\n')
    expect(text).toContain(
      'mydestination = $myhostname, web, web.internal.example, localhost.$mydomain, localhost\n',
    )
    expect(text).toContain('myhostname = hydra.example.org\n')
    expect(text).toContain('message_size_limit = 5\n')
    expect(text).toContain('# hydra-ops (set-up task "postfix") sets ')
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it('takes no mail for the domain in /etc/mailname, which may have a mail server elsewhere', async () => {
    writeFileSync(join(root, 'mailname'), 'example.org\n')
    await wanted().apply(host, run)
    expect(mainText()).toContain('mydestination = $myhostname, web, localhost.$mydomain, localhost\n')
  })

  it.each(['hydra', '192.0.2.7'])(
    'leaves its name as Debian set it when Hydra is called %s',
    async (hostName) => {
      await wanted({ hostName }).apply(host, run)
      expect(mainText()).toContain('myhostname = web\n')
      expect(await wanted({ hostName }).probe(host, run)).toBe('done')
    },
  )

  it('keeps a relay host that was set after it', async () => {
    await wanted().apply(host, run)
    writeFileSync(mainFile(), mainText().replace('relayhost =', 'relayhost = [smtp.example.org]:587'))
    expect(await wanted().probe(host, run)).toBe('done')
  })

  it('names the holder of its port', async () => {
    writeFileSync(join(root, 'listens'), 'LISTEN 0 1 127.0.0.1:25 *:* users:(("aiosmtpd",pid=7,fd=4))\n')
    await expect(wanted().apply(host, run)).rejects.toThrow('port 25 is taken by aiosmtpd (process 7)')
    expect(mainText()).toBe(shipped)
  })

  it('sees another daemon that is open to other hosts', async () => {
    await wanted().apply(host, run)
    writeFileSync(join(root, 'listens'), 'LISTEN 0 100 0.0.0.0:25 0.0.0.0:*\nLISTEN 0 100 [::1]:25 [::]:*\n')
    expect(await wanted().probe(host, run)).toEqual({
      drifted: 'port 25 is open to other hosts, at 0.0.0.0:25',
    })
  })

  it('fails with its own words when it does not start', async () => {
    writeFileSync(join(root, 'fail-restart'), '')
    try {
      await expect(wanted().apply(host, run)).rejects.toMatchObject({
        message: expect.stringContaining('set up postfix'),
        hint: expect.stringContaining('journalctl'),
      })
    } finally {
      rmSync(join(root, 'fail-restart'))
    }
    // The restart is still due.
    expect(await wanted().probe(host, run)).toMatchObject({ drifted: expect.stringContaining('restarted') })
  })
})

describe('a mail server that somebody set up', () => {
  it.each([
    [
      'all mail to a relay host',
      'relayhost = [smtp.example.org]:587',
      'postfix sends all mail to [smtp.example.org]:587 (relayhost)',
    ],
    [
      'mail of everybody',
      'inet_interfaces = all',
      'postfix accepts mail from other hosts (inet_interfaces = all)',
    ],
    [
      'mail of a network',
      'inet_interfaces = localhost, 192.0.2.1',
      'postfix accepts mail from other hosts (inet_interfaces = localhost, 192.0.2.1)',
    ],
  ])('is left alone when it serves %s, and a log line says so', async (_, line, why) => {
    const name = line.split(' ')[0] ?? ''
    const text = `${shipped.replace(new RegExp(`^${name} =.*$`, 'm'), line)}`
    fresh(text)
    expect(await wanted().probe(host, run)).toBe('done')
    expect(await wanted().apply(host, run)).toEqual({ mail: `not changed: ${why}` })
    expect(run.lines).toEqual([`the mail setup stays unchanged: ${why}`])
    expect(mainText()).toBe(text)
    expect(existsSync(join(root, 'edits'))).toBe(false)
    expect(existsSync(join(root, 'active-postfix.service'))).toBe(false)
  })

  it.each(['localhost', '127.0.0.1, [::1]'])(
    'is taken over when it serves this host alone (%s)',
    async (interfaces) => {
      fresh(shipped.replace('loopback-only', interfaces))
      expect(await wanted().probe(host, run)).toBe('needed')
      await wanted().apply(host, run)
      expect(mainText()).toContain('inet_interfaces = loopback-only\n')
    },
  )

  it('is not touched when its configuration is unreadable, and the words of postfix are the error', async () => {
    const text = `${shipped}a broken line\n`
    fresh(text)
    await expect(wanted().probe(host, run)).rejects.toMatchObject({ detail: 'a broken line' })
    await expect(wanted().apply(host, run)).rejects.toMatchObject({ detail: 'a broken line' })
    expect(mainText()).toBe(text)
  })

  it('is left alone without any configuration', async () => {
    rmSync(mainFile())
    expect(await wanted().probe(host, run)).toBe('done')
    expect(await wanted().apply(host, run)).toEqual({
      mail: 'not changed: postfix has no configuration (dpkg-reconfigure postfix)',
    })
  })

  it('is left alone when it is not postfix', async () => {
    rmSync(join(root, 'bin/postconf'))
    writeFileSync(join(root, 'sendmail'), '')
    expect(await wanted().probe(host, run)).toBe('done')
    expect(await wanted().apply(host, run)).toEqual({
      mail: 'not changed: exim4-daemon-light sends the mail of this machine',
    })
  })

  it('is needed when there is none, and missed when apt was to install it', async () => {
    rmSync(join(root, 'bin/postconf'))
    expect(await wanted().probe(host, run)).toBe('needed')
    await expect(wanted().apply(host, run)).rejects.toThrow('postfix is missing')
  })
})

describe('the proof of postfix', () => {
  let server: Server | undefined
  afterEach(() => {
    server?.close()
  })

  async function greetWith(text: string): Promise<string[]> {
    const said: string[] = []
    const listening = createServer((socket) => {
      socket.on('data', (chunk) => said.push(chunk.toString()))
      socket.on('error', () => {})
      socket.write(text)
    })
    server = listening
    await new Promise<void>((done) => listening.listen(0, '127.0.0.1', done))
    const address = listening.address()
    host.port = address === null || typeof address === 'string' ? 0 : address.port
    return said
  }

  it('is the greeting of a mail server on the machine itself', async () => {
    await wanted().apply(host, run)
    await greetWith('220-hydra.example.org\r\n220 hydra.example.org ESMTP Postfix (Debian/GNU)\r\n')
    await wanted().verify(host, run)
  })

  it('is also required of a foreign mail server, because Hydra hands its mails over there', async () => {
    fresh(shipped.replace('loopback-only', 'all'))
    await wanted().apply(host, run)
    await greetWith('220 mail.example.org ESMTP Exim 4.96\r\n')
    await wanted().verify(host, run)
  })

  it('is not required when Hydra sends its mails elsewhere and no mail server is ours', async () => {
    fresh(shipped.replace('loopback-only', 'all'))
    host.port = 1
    await wanted({ smtpHost: 'mail.example.org' }).verify(host, run)
  })

  it('reports that Hydra sends its mails past it', async () => {
    await wanted({ smtpHost: 'mail.example.org' }).apply(host, run)
    expect(run.lines.join('\n')).toContain('Hydra sends its mail to deployment.hydra.smtpHost')
  })
})

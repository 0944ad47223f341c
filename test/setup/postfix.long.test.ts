import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { bindTask, type WantedTask } from '../../src/core/setup-task.js'
import { postfixTask } from '../../src/setup/postfix.js'
import { installPackages, wantedPackages } from '../../src/systems/debian/packages.js'
import { debianMachine } from '../fakes/debian-machine.js'
import { taskMachine, taskRun } from '../fakes/task-run.js'
import { AptRepository, sourcesLine } from '../fixtures/apt-repository.js'
import { ConnectedGuest, slow } from '../fixtures/connected-guest.js'
import { taskContract } from './task-contract.js'

/** A guest without outbound network, on which the engine installs Debian's own postfix. */
let guest: ConnectedGuest
let repository: AptRepository
let debs: string
const run = taskRun()

beforeAll(async () => {
  guest = await ConnectedGuest.start()
  debs = mkdtempSync(join(tmpdir(), 'ho-debs-'))
  repository = new AptRepository()
  const proxy = `operator:${await repository.listen()}`
  await download()
  repository.publish(
    [],
    readdirSync(debs).map((name) => join(debs, name)),
  )
  await guest.sh(
    `rm -rf /etc/apt/sources.list.d /etc/apt/sources.list; printf '%s\\n' "$1" > /etc/apt/sources.list`,
    sourcesLine,
  )
  await installPackages(guest.host, wantedPackages(debianMachine(), [wanted()]), { proxy, run })
  await guest.sh('cp -p /etc/postfix/main.cf /var/tmp/main.cf.shipped')
})
afterAll(async () => {
  repository?.dispose()
  rmSync(debs, { recursive: true, force: true })
  await guest?.dispose()
})

/** Downloads postfix and its dependencies, except the packages that the guest has. */
async function download(): Promise<void> {
  const only = ['recommends', 'suggests', 'conflicts', 'breaks', 'replaces', 'enhances'].map(
    (kind) => `--no-${kind}`,
  )
  const tree = execFileSync('apt-cache', ['depends', '--recurse', ...only, 'postfix'], { encoding: 'utf8' })
  const present = new Set((await guest.sh(`dpkg-query -W -f '\${Package}\\n'`)).split('\n'))
  // cdebconf is the second alternative of a dependency; every Debian system has the first alternative.
  const missing = [...new Set(tree.split('\n').filter((line) => /^[a-z0-9]/.test(line)))].filter(
    (name) => !present.has(name) && !name.includes(':') && !name.includes('cdebconf'),
  )
  expect(missing).toContain('postfix')
  execFileSync('apt-get', ['download', ...missing], { cwd: debs, stdio: 'pipe' })
}

function wanted(hydra: Record<string, unknown> = {}): WantedTask {
  const options = { enable: true, hostName: 'hydra.example.org', postfix: { enable: true }, ...hydra }
  const task = bindTask(postfixTask)(taskMachine({ hydra: options }))
  if (task === undefined) throw new Error('the postfix task is not wanted')
  return task
}

const setting = (name: string) => guest.sh('postconf -h "$1"', name)
const listening = () => guest.sh(`ss -Hltn 'sport = :25' | awk '{ print $4 }' | sort`)
const shipped = `cp -p /var/tmp/main.cf.shipped /etc/postfix/main.cf; rm -f /run/hydra-ops/postfix-restart
systemctl --quiet disable postfix.service; systemctl stop postfix.service`

describe('postfix on a guest', () => {
  it('listens on the loopback interface alone from its installation on', async () => {
    expect(await setting('inet_interfaces')).toBe('loopback-only')
    expect(await setting('relayhost')).toBe('')
    expect(await guest.sh('postconf -h default_transport')).toBe('smtp')
    expect(await listening()).toMatch(/^127\.0\.0\.1:25(?:\n\[::1\]:25)?$/)
    expect(await wanted().probe(guest.host, run)).toBe('needed')
  })

  describe('as a set-up task', () => {
    taskContract(() => ({
      host: guest.host,
      task: wanted(),
      verifiable: true,
      reset: shipped,
      damages: {
        'open to others': `postconf -e 'inet_interfaces = all'; systemctl restart postfix`,
        'mail of others': `postconf -e 'mydestination = example.org'`,
        'another name': `postconf -e 'myhostname = other.example.org'`,
        stopped: 'systemctl stop postfix',
        'its master alone stopped': 'postfix stop',
        // The script names both units, because systemctl would otherwise not wait for the second unit.
        'started by hand': `systemctl --quiet disable postfix; systemctl stop postfix postfix@-; postfix start`,
        killed:
          'kill -9 $(cat /var/spool/postfix/pid/master.pid | tr -d " "); while postfix status; do sleep 0.2; done',
        'not started at boot': 'systemctl --quiet disable postfix',
      },
    }))
  })

  it('takes mail from a service with as few rights as Hydra’s, and delivers it', async () => {
    await wanted().apply(guest.host, run)
    await guest.sh(`id -u receiver > /dev/null 2>&1 || useradd --create-home receiver
cat > /run/send.pl <<'END'
use IO::Socket::INET;
my $s = IO::Socket::INET->new("127.0.0.1:25") or die "no connection: $!";
sub answer { my $l; do { $l = <$s> } while ($l =~ /^\\d{3}-/); $l =~ /^[23]/ or die $l }
answer();
for ("EHLO x", 'MAIL FROM:<hydra@hydra.example.org>', 'RCPT TO:<receiver@hydra.example.org>', "DATA", "Subject: build 1\\r\\n\\r\\nfailed\\r\\n.", "QUIT") {
  print $s "$_\\r\\n"; answer();
}
END
systemd-run --quiet --wait -p User=nobody -p NoNewPrivileges=true -p ProtectSystem=strict -p PrivateDevices=true \\
  perl /run/send.pl`)
    await vi.waitFor(
      async () => expect(await guest.sh('cat /var/mail/receiver')).toContain('Subject: build 1'),
      slow,
    )
  })

  it('keeps a later relay host, and is left alone when the relay host was set before', async () => {
    await guest.sh(shipped)
    await wanted().apply(guest.host, run)
    await guest.sh(`postconf -e 'relayhost = [smtp.example.org]:587'`)
    expect(await wanted().probe(guest.host, run)).toBe('done')
    await guest.sh(`${shipped}\npostconf -e 'relayhost = [smtp.example.org]:587'`)
    const before = await guest.sh('cat /etc/postfix/main.cf')
    expect(await wanted().probe(guest.host, run)).toBe('done')
    expect(await wanted().apply(guest.host, run)).toEqual({
      mail: 'not changed: postfix sends all mail to [smtp.example.org]:587 (relayhost)',
    })
    expect(await guest.sh('cat /etc/postfix/main.cf')).toBe(before)
    expect(await guest.sh('systemctl is-enabled postfix || true')).toBe('disabled')
  })

  it('is up again after a reboot', async () => {
    await guest.sh(shipped)
    await wanted().apply(guest.host, run)
    await guest.reboot()
    await wanted().verify(guest.host, run)
    expect(await wanted().probe(guest.host, run)).toBe('done')
  })
})

import { spawn } from 'node:child_process'
import { cpSync } from 'node:fs'
import { basename, join } from 'node:path'
import { Duplex } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { packageRoot } from '../../src/core/package-root.js'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { plainSsh } from '../fixtures/guest-ssh.js'
import { WebSocketClient } from '../fixtures/websocket.js'
import { rootLogin, type SshOperator, sshOperator } from './ssh-operator.js'

/**
 * A guest with a Hydra of August 2026 or later. Its database setting is a URL, and its builders connect to the queue
 * runner. Hydra is a stand-in (test/fixtures/packages) that uses the real PostgreSQL, nginx, Nix daemon and systemd.
 */
let guest: Guest
let operator: SshOperator

const expression = () => `{
  ci = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "ci.example";
    deployment.targetHostKey = "${guest.hostKey}";
    # The stand-in uses these packages.
    deployment.aptPackages = [ "python3-psycopg2" "python3-cryptography" ];
    deployment.hydra = {
      enable = true;
      package = (import ./packages { }).hydra-database-url;
      hostName = "hydra.example.org";
      queueRunnerPort = 18080;
      cache.enable = true;
      nginx.enable = true;
      admin = { userName = "alice"; fullName = "Alice Q. User"; emailAddress = "alice@example.org"; password.generate = true; };
    };
  };
}
`

beforeAll(async () => {
  guest = await startGuest({ name: 'ci' })
  operator = sshOperator()
  operator.sshConfig(rootLogin('ci.example', guest))
  cpSync(join(packageRoot(), 'test/fixtures/packages'), join(operator.folder, 'packages'), {
    recursive: true,
  })
  operator.write('network.nix', expression())
  await operator.ok(['create', 'network.nix', '-d', 'ci'])
})
afterAll(async () => {
  await guest?.dispose()
  operator?.dispose()
})

const Rows = z.array(z.object({ task: z.string(), state: z.string(), detail: z.string().optional() }))

async function notDone(): Promise<string[]> {
  const rows = Rows.parse(JSON.parse(await operator.ok(['setup', 'status', '-d', 'ci', '--json'])))
  expect(rows.map(({ task }) => task)).toContain('hydra-proof')
  return rows
    .filter(({ state }) => state !== 'done')
    .map(({ task, state, detail }) => `${task} ${state}: ${detail}`)
}

/** Waits until every task is done, because the services start one after the other. */
const doneInTheEnd = () => expect.poll(notDone, { timeout: 300_000, interval: 2_000 }).toEqual([])

/** Opens a WebSocket to the guest's nginx. */
async function liveLogs(headers: Record<string, string>) {
  const way = [...plainSsh(guest.identityFile), '-p', String(guest.port), '-W', '127.0.0.1:80']
  const ssh = spawn('ssh', [...way, `root@${guest.host}`], { stdio: ['pipe', 'pipe', 'inherit'] })
  const stream = Duplex.from({ readable: ssh.stdout, writable: ssh.stdin })
  return { client: await WebSocketClient.open(stream, { path: '/hydra-ws', headers }), end: () => ssh.kill() }
}

describe('a Hydra with a queue runner that builders connect to', () => {
  it('builds and signs after one deploy: the machine is its own builder', async () => {
    await operator.ok(['deploy', '-d', 'ci'])
    expect(await notDone()).toEqual([])
    expect(await guest.sh('systemctl is-active hydra-queue-runner hydra-builder')).toBe('active\nactive')
  })

  it('lets nobody but its own user connect as a builder', async () => {
    const socket = '/run/hydra-queue-runner/builders.sock'
    expect(await guest.sh(`test -S ${socket} && stat -c '%a %U' /run/hydra-queue-runner`)).toBe(
      '700 hydra-queue-runner',
    )
    expect(await guest.sh(`ss -Hltn 'sport = :50051'`)).toBe('')
    expect(await guest.sh(`ss -Hltn 'sport = :18080' | awk '{ print $4 }'`)).toBe('127.0.0.1:18080')
  })

  it('sends the log of a build to a page of its own, from the queue runner’s file through nginx', async () => {
    expect(await guest.sh('systemctl is-active hydra-ws')).toBe('active')
    expect(await guest.sh(`grep ws_endpoint /etc/hydra/hydra.conf`)).toBe(
      'ws_endpoint = ws://hydra.example.org/hydra-ws',
    )
    const query = 'select id, drvpath from builds order by id limit 1'
    const [build, derivation = ''] = (
      await guest.sh(`runuser -u postgres -- psql -At hydra -c '${query}'`)
    ).split('|')
    const name = basename(derivation)
    const log = `/var/lib/hydra/build-logs/${name.slice(0, 2)}/${name.slice(2)}`
    // The queue runner writes this log file while it builds.
    await guest.sh(`runuser -u hydra-queue-runner -- sh -c 'umask 022; echo half done > ${log}'`)
    const own = await liveLogs({ Origin: 'http://hydra.example.org' })
    const foreign = await liveLogs({ Origin: 'https://example.com' })
    try {
      if (!(own.client instanceof WebSocketClient)) throw new Error(`refused with ${own.client.refused}`)
      own.client.send({ type: 'logsStart', buildId: Number(build) })
      expect(await own.client.next()).toMatchObject({ type: 'logsStart', success: true })
      expect(await own.client.next()).toMatchObject({ type: 'logLine', line: 'half done' })
      expect(foreign.client).toEqual({ refused: 403 })
    } finally {
      own.end()
      foreign.end()
      await guest.sh(`rm ${log}`)
    }
  })

  it('needs no second deploy', async () => {
    const started =
      'systemctl show -p ExecMainStartTimestampMonotonic hydra-server hydra-queue-runner hydra-builder'
    const before = await guest.sh(started)
    expect(await operator.ok(['deploy', '-d', 'ci'])).toContain('Up-to-date: nothing was changed')
    expect(await guest.sh(started)).toBe(before)
  })

  it('gets its builder back by itself when its queue runner was killed', async () => {
    const joined = `journalctl --quiet --no-pager --output=cat -u hydra-queue-runner | grep -c 'Registered new machine'`
    await guest.sh(`before=$(${joined})
systemctl kill --signal=KILL hydra-queue-runner
for i in $(seq 180); do
  [ "$(${joined})" -le "$before" ] || exit 0
  sleep 1
done
systemctl status --no-pager hydra-queue-runner hydra-builder >&2; exit 1`)
    await doneInTheEnd()
  })

  it('leaves a stopped queue runner alone, and its builder with it', async () => {
    await guest.sh('systemctl stop hydra-queue-runner')
    // Both units are dead; the state `auto-restart` would mean that a unit waits for its next attempt.
    expect(await guest.sh('systemctl show -p SubState --value hydra-queue-runner hydra-builder')).toBe(
      'dead\n\ndead',
    )
    await guest.sh('systemctl start hydra-queue-runner')
    await doneInTheEnd()
  })

  it('is drifted without its builder, and a deploy fixes that', async () => {
    await guest.sh('systemctl stop hydra-builder')
    expect((await notDone()).join()).toMatch(/hydra drifted: .*hydra-builder\.service is inactive/)
    await operator.ok(['deploy', '-d', 'ci'])
    expect(await notDone()).toEqual([])
  })

  it('has everything up by itself after a reboot', async () => {
    await operator.ok(['reboot', '-d', 'ci'])
    await doneInTheEnd()
  })
})

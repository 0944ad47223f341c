import { MachineName } from '../../../src/core/names.js'
import type { Host } from '../../../src/core/ssh.js'
import { freePort } from '../../fixtures/free-port.js'
import { RootNamespace } from '../../fixtures/root-namespace.js'
import { withScript } from '../../fixtures/with-script.js'

/** Two machines with separate users, Nix stores and daemons, on one loopback. `b1` has a real sshd. */
export class TwoMachines {
  readonly ci: RootNamespace
  readonly b1: RootNamespace
  readonly port: number
  readonly hostKey: string

  private constructor(ci: RootNamespace, b1: RootNamespace, port: number, hostKey: string) {
    this.ci = ci
    this.b1 = b1
    this.port = port
    this.hostKey = hostKey
  }

  static async start(): Promise<TwoMachines> {
    const ci = await RootNamespace.start()
    const b1 = await RootNamespace.start()
    try {
      for (const machine of [ci, b1]) await startNix(machine)
      const port = await freePort()
      const hostKey = await startSshd(b1, port)
      await ci.sh(
        'groupadd --system hydra; useradd --system --gid hydra --groups nix-users hydra-queue-runner',
      )
      return new TwoMachines(ci, b1, port, hostKey)
    } catch (error) {
      await ci.dispose()
      await b1.dispose()
      throw error
    }
  }

  /** Restarts sshd on the same port with another host key. */
  async changeHostKey(): Promise<void> {
    await stopSshd(this.b1)
    await this.b1.sh('cp -p /etc/ssh/b1_key /etc/ssh/kept_b1_key')
    await startSshd(this.b1, this.port)
  }

  async restoreHostKey(): Promise<void> {
    await stopSshd(this.b1)
    await this.b1.sh(`mv /etc/ssh/kept_b1_key /etc/ssh/b1_key; ${run}`)
  }

  async stopSshd(): Promise<void> {
    await stopSshd(this.b1)
  }

  async startSshd(): Promise<void> {
    await this.b1.sh(run)
  }

  async dispose(): Promise<void> {
    await this.ci.dispose()
    await this.b1.dispose()
  }
}

/** Returns a machine for a login of a user without root, whose home lies in /home. */
export function asUser({ host }: RootNamespace, user: string): Host {
  return withScript(host, (text, args, options) =>
    host.exec(
      ['runuser', '-u', user, '--', 'env', `HOME=/home/${user}`, 'sh', '-c', text, 'sh', ...args],
      options,
    ),
  )
}

export const ci = MachineName.parse('ci')
export const b1 = MachineName.parse('b1')

/** Starts the real Nix daemon, with the settings that it needs in a namespace. */
async function startNix(machine: RootNamespace): Promise<void> {
  await machine.sh(`getent group nix-users > /dev/null || groupadd --system nix-users
mkdir -p /etc/nix /nix/var/nix/daemon-socket
cat > /etc/nix/nix.conf <<END
build-users-group =
sandbox = false
substituters =
trusted-users = root nix-builder hydra-queue-runner
END`)
  await restartDaemon(machine)
}

/** Restarts the daemon, so that it reads its settings again. */
export async function restartDaemon(machine: RootNamespace): Promise<void> {
  await machine.sh(restart)
}

/** Places a stand-in for systemctl that only restarts the Nix daemon; other calls do nothing. */
export async function standInSystemctl(machine: RootNamespace): Promise<void> {
  await machine.standIn('systemctl', `[ "$*" = 'try-restart nix-daemon.service' ] || exit 0\n${restart}`)
}

/** Prepares a machine for tasks with further settings of Nix: its Nix includes these settings, as the task "nix" writes. */
export async function includeFurtherSettings(machine: RootNamespace): Promise<void> {
  await standInSystemctl(machine)
  await machine.sh(
    'printf "%s\\n" "!include hydra-ops-signing.conf" "!include hydra-ops-caches.conf" >> /etc/nix/nix.conf',
  )
  await restartDaemon(machine)
}

/** Script that waits for the daemon, which creates its socket a moment before it listens there. */
export const untilDaemonListens = `listens() { perl -MIO::Socket::UNIX -e 'exit !IO::Socket::UNIX->new(Peer => "/nix/var/nix/daemon-socket/socket")'; }
for each in $(seq 300); do ! listens || break; sleep 0.1; done
[ "$each" -lt 300 ]`

/** Script that restarts the daemon without the settings of this host's environment. */
const restart = `[ ! -e /run/nix-daemon.pid ] || kill "$(cat /run/nix-daemon.pid)" 2> /dev/null
rm -f /nix/var/nix/daemon-socket/socket
setsid env -u NIX_CONFIG nix-daemon > /var/log/nix-daemon.log 2>&1 < /dev/null & echo $! > /run/nix-daemon.pid
${untilDaemonListens}
chgrp nix-users /nix/var/nix/daemon-socket; chmod 0770 /nix/var/nix/daemon-socket`

const run = `/usr/sbin/sshd -f /etc/ssh/sshd_b1
for each in $(seq 300); do [ ! -s /run/sshd_b1.pid ] || break; sleep 0.1; done; [ -s /run/sshd_b1.pid ]`

async function startSshd(machine: RootNamespace, port: number): Promise<string> {
  await machine.sh(
    `rm -f /etc/ssh/b1_key*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/b1_key
mkdir -p /run/sshd; chmod 755 /run/sshd
cat > /etc/ssh/sshd_b1 <<END
ListenAddress 127.0.0.1
Port $1
HostKey /etc/ssh/b1_key
PidFile /run/sshd_b1.pid
UsePAM no
PasswordAuthentication no
PrintMotd no
END
${run}`,
    String(port),
  )
  const key = await machine.sh('cut -d" " -f1,2 /etc/ssh/b1_key.pub')
  return key
}

/** Stops sshd, and waits until it has freed its port. No init reaps the process, so a zombie counts as ended. */
async function stopSshd(machine: RootNamespace): Promise<void> {
  await machine.sh(`pid=$(cat /run/sshd_b1.pid); kill "$pid"
for each in $(seq 300); do grep -qs '^State:.[^ZX]' "/proc/$pid/status" || break; sleep 0.1; done
[ "$each" -lt 300 ]; rm -f /run/sshd_b1.pid`)
}

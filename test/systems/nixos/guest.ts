import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { resolve } from 'node:path'
import { expect, vi } from 'vitest'
import { z } from 'zod'
import { StorePath } from '../../../src/core/names.js'
import type { Ssh, SshTarget } from '../../../src/core/ssh.js'
import { localCommands } from '../../../src/exec/local-commands.js'
import { connect } from '../../../src/machine/connect.js'
import { createSsh } from '../../../src/ssh/create-ssh.js'
import { activateSystem } from '../../../src/systems/nixos/activation.js'
import { surveyNixos } from '../../../src/systems/nixos/survey.js'
import type { ActivationOptions, Trial } from '../../../src/systems/system.js'
import { fakeTarget, recordingRun } from '../../fakes/fake-target.js'
import { type NixosSession, nixosSession } from '../../fakes/nixos-session.js'
import { ConnectedGuest, slow } from '../../fixtures/connected-guest.js'
import { grubImage, systemdBootImage } from '../../fixtures/debian-image.js'
import type { LanEnd } from '../../fixtures/guest-qemu.js'
import { newestSystemdBoot } from '../../fixtures/newest-systemd-boot.js'
import { type Loader, type MadeSystem, systemFiles } from '../../fixtures/nixos-system/nixos-system.js'

const makeEsp = readFileSync(resolve('test/fixtures/nixos-system/make-esp'), 'utf8')

/** Unit of the guest that every login needs. */
export const sshd = ['ssh.service']

/** A system whose switch stops sshd, so that no login is possible. */
export const sshdStops = { services: [], row: 'cut-ssh' } as const

/** Times that a healthy switch never needs, even on an emulated guest of a busy host. */
export const guestTimes = {
  activation: 600,
  confirm: 400,
  watch: 6,
  watchLonger: 6,
  sample: 2,
  attempt: 300,
  pause: 1,
}
/** Times for a switch that nobody can confirm. */
export const hopeless = { ...guestTimes, confirm: 10 }

export const options = { always: false, beforeTasks: false, again: false }

/** What a test wants of a guest. */
interface NixosGuestWish {
  /** The end of a cable to another guest. */
  readonly lan?: LanEnd
  /** The boot loader of the systems. Default: GRUB. */
  readonly loader?: Loader
}

/** A guest that boots made-up systems of NixOS with its own boot loader, with a snapshot in which `old` runs. */
export class NixosGuest {
  readonly guest: ConnectedGuest
  readonly old: StorePath
  private readonly loader: Loader
  private readonly open: NixosSession[] = []
  /** Whether no test has reset the guest yet. The reset of a guest with EFI is a boot, which the first test saves. */
  private isReady = true

  private constructor(guest: ConnectedGuest, old: StorePath, loader: Loader) {
    this.guest = guest
    this.old = old
    this.loader = loader
  }

  static async start({ lan, loader = 'grub' }: NixosGuestWish = {}): Promise<NixosGuest> {
    const efi = loader !== 'grub'
    const guest = await ConnectedGuest.start(undefined, {
      image: efi ? systemdBootImage : grubImage,
      ...(efi ? { efi } : {}),
      ...(lan === undefined ? {} : { lan }),
    })
    const made = await NixosGuest.installed(guest, loader).catch(async (error: unknown) => {
      await guest.dispose()
      throw error
    })
    await guest.guest.snapshot('ready')
    await guest.reconnect()
    return made
  }

  /** Installs the boot loader and the old system; the old system runs afterwards. */
  private static async installed(guest: ConnectedGuest, loader: Loader): Promise<NixosGuest> {
    // The image's GRUB has only the modules for its own menu, and the menu of NixOS needs more.
    await guest.sh(`set -e
${loader === 'grub' ? 'cp -r /usr/lib/grub/i386-pc /boot/grub/' : makeEsp}
echo "root=UUID=$(findmnt -no UUID /) console=ttyS0 rootfstype=ext4 rw quiet loglevel=4" > /etc/boot-words`)
    const old = await addSystem(guest, 'old', { services: sshd, loader })
    await guest.sh(
      'nix-env -p /nix/var/nix/profiles/system --set "$1" && "$1/bin/switch-to-configuration" boot',
      old,
    )
    if (loader === 'grub') {
      await guest.sh(
        'ln -sfnT "$1" /run/current-system; ln -sfnT "$1" /run/booted-system; sh "$1/mounts"; sync',
        old,
      )
    } else {
      if (loader === 'boot-counting') await guest.sh(newestLoader())
      await guest.sh('sync; sync /boot')
      guest.guest.becomeEfi()
    }
    return new NixosGuest(guest, old, loader)
  }

  /** Resets the guest to the snapshot in which the old system runs. */
  async reset(): Promise<void> {
    const { isReady } = this
    this.isReady = false
    if (isReady && this.open.length === 0 && this.loader !== 'grub') return
    for (const { session, ops } of this.open.splice(0)) {
      session.host?.close()
      ops.cleanup()
    }
    this.guest.host.close()
    await this.guest.guest.revert('ready')
    await this.guest.reconnect()
  }

  async dispose(): Promise<void> {
    for (const { session, ops } of this.open.splice(0)) {
      session.host?.close()
      ops.cleanup()
    }
    await this.guest.dispose()
  }

  sh(text: string, ...args: string[]): Promise<string> {
    return this.guest.sh(text, ...args)
  }

  /** Adds a made-up system to the guest's store. */
  system(name: string, made: MadeSystem = {}): Promise<StorePath> {
    return addSystem(this.guest, name, { loader: this.loader, ...made })
  }

  /** Begins a session as a new process would; `change` may replace the SSH layer. */
  async begin(
    more: Parameters<typeof nixosSession>[2] = {},
    change: (ssh: Ssh) => Ssh = (ssh) => ssh,
  ): Promise<NixosSession> {
    const ssh = createSsh({ local: localCommands, env: {}, homeDir: tmpdir() })
    const begun = await nixosSession(change(ssh), this.target(), more)
    this.open.push(begun)
    await connect(begun.session, 60_000)
    return begun
  }

  /** Activates a system in a new session; returns the result or the error. */
  async activate(path: StorePath, more: Partial<ActivationOptions> = {}, times = guestTimes) {
    const begun = await this.begin()
    const end = await activateSystem(begun.session, path, { ...options, ...more }, times).catch(
      (error: unknown) => error,
    )
    return { begun, end }
  }

  /** Makes a system on trial the boot default. */
  async keep(end: unknown): Promise<void> {
    expect(end).toHaveProperty('trial.keep')
    const { trial } = z.object({ trial: z.custom<Trial>() }).parse(end)
    await trial.keep()
  }

  /**
   * Waits until a script succeeds, with a new connection for each attempt; a booting guest refuses some connections.
   */
  until(script: string, ...args: string[]): Promise<void> {
    return vi.waitFor(async () => {
      await this.guest.reconnect()
      await this.sh(script, ...args)
    }, slow)
  }

  /** Waits until the guest boots a system; nobody can log in yet. */
  untilBoots(path: StorePath): Promise<void> {
    return this.untilSays(`stand-in: stage 2 of ${path}`)
  }

  /** Waits for a text on the guest's serial console. */
  untilSays(text: string, waits = slow): Promise<void> {
    const { consoleFile } = this.guest.guest
    return vi.waitFor(() => {
      expect(readFileSync(consoleFile, 'utf8')).toContain(text)
    }, waits)
  }

  /** Cuts the power and boots again. */
  async cutPower(): Promise<void> {
    await this.guest.guest.powerCut()
    await this.guest.guest.boot()
  }

  /** Looks at the guest over a new connection. */
  async look() {
    await this.guest.reconnect()
    const seen = await surveyNixos(this.guest.host, recordingRun())
    // A boot into the old system loads the timer of an abandoned one-time boot, whose condition keeps it inactive.
    const timers = await this.sh("systemctl list-timers --no-legend 'hydra-ops-*' | wc -l")
    const { current, booted, profile, bootDefault } = seen
    return { current, booted, profile, bootDefault, timers, seen }
  }

  private target(): SshTarget {
    const { port, hostKey, identityFile } = this.guest.guest
    return fakeTarget('web', { port, hostKey, identityFiles: [identityFile] })
  }
}

/** Returns the script that replaces the systemd-boot of Debian 12, which lacks words of today's NixOS. */
function newestLoader(): string {
  return `base64 -d > /boot/EFI/BOOT/BOOTX64.EFI <<'END'
${newestSystemdBoot().toString('base64')}
END
cp /boot/EFI/BOOT/BOOTX64.EFI /boot/EFI/systemd/systemd-bootx64.efi
sync`
}

async function addSystem(guest: ConnectedGuest, name: string, made: MadeSystem): Promise<StorePath> {
  const files = Object.entries(systemFiles(made)).map(
    ([path, text]) =>
      `mkdir -p "$(dirname '${path}')"; echo ${Buffer.from(text).toString('base64')} | base64 -d > '${path}'`,
  )
  const path = await guest.sh(`set -e
rm -rf /tmp/made; mkdir -p /tmp/made/nixos-system-${name}; cd /tmp/made/nixos-system-${name}
${files.join('\n')}
mkdir sw; ln -s /usr/bin sw/bin; chmod +x bin/* init
nix-store --add "$PWD"`)
  return StorePath.parse(path.split('\n').at(-1))
}

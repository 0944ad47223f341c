import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { type MadeSystem, systemFiles } from '../fixtures/nixos-system/nixos-system.js'
import { NixosGuest } from '../systems/nixos/guest.js'
import type { Ended, RunOptions } from './operator.js'
import { rootLogin, type SshOperator, sshOperator } from './ssh-operator.js'

/** A deployment `box` with one guest, which has a known address and counts as a NixOS machine. */
export interface NixosBox {
  readonly guest: NixosGuest
  readonly operator: SshOperator
  /** Writes the network: a NixOS machine whose toplevel is a made-up system that a guest can switch to. */
  want(made: MadeSystem, more?: string): void
  deploy(...flags: string[]): Promise<Ended>
  /** Runs a verb on the deployment, with options for the process. */
  run(verb: string, flags: readonly string[], options?: RunOptions): Promise<Ended>
  dispose(): Promise<void>
}

/** Starts the guest, and creates the deployment with its first system; `more` contains further definitions. */
export async function nixosBox(first: MadeSystem, more = ''): Promise<NixosBox> {
  const guest = await NixosGuest.start()
  await guest.sh(countsAsNixos)
  const operator = operatorOf(guest)
  let systems = 0
  const want = (made: MadeSystem, more = '') => {
    systems += 1
    const folder = `system-${systems}`
    for (const [path, text] of Object.entries(systemFiles(made))) {
      mkdirSync(dirname(join(operator.folder, folder, path)), { recursive: true })
      writeFileSync(join(operator.folder, folder, path), text)
    }
    operator.write('network.nix', network(folder, guest.guest.guest.hostKey, more))
  }
  const run = (verb: string, flags: readonly string[], options: RunOptions = {}) =>
    operator.run([verb, '-d', 'box', ...flags], options)
  want(first, more)
  await operator.ok(['create', 'network.nix', '-d', 'box'])
  return {
    guest,
    operator,
    want,
    run,
    async deploy(...flags) {
      const ended = await run('deploy', ['--yes', '--confirm-timeout', '300', ...flags])
      await guest.guest.reconnect()
      return ended
    },
    async dispose() {
      operator.dispose()
      await guest.dispose()
    },
  }
}

/** A script that makes a guest count as a NixOS machine. */
export const countsAsNixos = "sed -i 's/^ID=.*/ID=nixos/; s/^ID_LIKE=.*//' /etc/os-release; touch /etc/NIXOS"

/** Creates an operator whose ssh configuration contains the guest as `box.example`. */
export function operatorOf({ guest: { guest } }: NixosGuest): SshOperator {
  const operator = sshOperator()
  operator.sshConfig(rootLogin('box.example', guest))
  return operator
}

function network(folder: string, hostKey: string, more: string): string {
  return `{
  network.nixpkgs = ${resolve('test/fixtures/nixpkgs')};
  box = { config, lib, pkgs, ... }: {
    deployment.targetHost = "box.example";
    deployment.targetHostKey = "${hostKey}";
    ${more}
    boot.loader.grub.device = "/dev/vda";
    fileSystems."/".device = "/dev/vda1";
    system.build.toplevel = lib.mkForce (pkgs.runCommand "nixos-system-box" { } ''
      cp -r \${./${folder}} $out
      chmod -R u+w $out
      chmod +x $out/bin/* $out/init
      mkdir -p $out/units
      \${lib.concatStringsSep "\\n" (lib.mapAttrsToList (name: file: "cp \${file} $out/units/\${lib.escapeShellArg name}") config.system.build.unitSources)}
      mkdir $out/sw
      ln -s /usr/bin $out/sw/bin
    '');
  };
}
`
}

/** Returns everything that a process printed. */
export const everything = ({ stdout, stderr }: Ended) => `${stdout}\n${stderr}`

import { cpSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'
import { NixosGuest } from '../systems/nixos/guest.js'
import { countsAsNixos, operatorOf } from './nixos-box.js'
import type { SshOperator } from './ssh-operator.js'

/**
 * A script that removes Debian's PostgreSQL cluster, moves PostgreSQL, and opens the Nix daemon's socket to all users.
 * Debian differs from NixOS in these points.
 */
const withoutDebian = `rm -rf /var/lib/postgresql/15 /etc/postgresql
mkdir -p /opt/postgresql/lib /opt/postgresql/share
mv /usr/lib/postgresql /opt/postgresql/lib/
ln -s /usr/share/postgresql /opt/postgresql/share/postgresql
echo 'd /nix/var/nix/daemon-socket 0755 root root' > /etc/tmpfiles.d/nix-daemon.conf
systemd-tmpfiles --create /etc/tmpfiles.d/nix-daemon.conf
sync`

/** Starts a guest that counts as a NixOS machine, and takes its snapshot `fresh`. */
export async function freshNixos(): Promise<NixosGuest> {
  const guest = await NixosGuest.start()
  await guest.sh(`${countsAsNixos}\n${withoutDebian}`)
  await guest.guest.guest.snapshot('fresh')
  return guest
}

/**
 * Creates an operator whose deployment `ci` defines a Hydra on a NixOS machine, and is not deployed yet. The stand-in
 * for nixpkgs (test/fixtures/nixpkgs) defines the services. The services run the stand-ins for Hydra and nix-serve, and
 * Debian's PostgreSQL, nginx, Nix daemon and systemd. `more` contains further definitions of the machine.
 */
export async function nixosHydraOperator(guest: NixosGuest, more: string): Promise<SshOperator> {
  const operator = operatorOf(guest)
  cpSync(join(packageRoot(), 'test/fixtures/packages'), join(operator.folder, 'packages'), {
    recursive: true,
  })
  operator.write('password', 'from-a-file-5Yh\n')
  operator.write('network.nix', network(guest.guest.guest.hostKey, more))
  await operator.ok(['create', 'network.nix', '-d', 'ci'])
  return operator
}

function network(hostKey: string, more: string): string {
  // The stand-in's web server starts slowly, like the real web server.
  const packages = '(import ./packages { startSeconds = 20; })'
  return `{
  network.nixpkgs = import ${resolve('test/fixtures/nixpkgs')} { config.guest = true; };
  ci = { config, lib, pkgs, ... }: {
    deployment.targetEnv = "none";
    deployment.targetHost = "box.example";
    deployment.targetHostKey = "${hostKey}";
    boot.loader.grub.device = "/dev/vda";
    fileSystems."/".device = "/dev/vda1";
    services.openssh.enable = true;
    # nixpkgs' module gives builds a shell too, and the guest has these groups and files for builds.
    nix.extraOptions = ''
      build-users-group = nixbld
      sandbox = true
      sandbox-paths = /bin/sh=/bin/dash /usr/bin /usr/lib /lib? /lib64?
      substituters =
    '';
    deployment.hydra = {
      enable = true;
      package = ${packages}.hydra;
      hostName = "hydra.example.org";
      cache.enable = true;
      nixServe = { enable = true; package = ${packages}.nix-serve; };
      nginx = { enable = true; cacheHostName = "cache.example.org"; };
      buildMachines = [ { hostName = "localhost"; systems = [ "x86_64-linux" ]; } ];
      admin = {
        userName = "alice";
        fullName = "Alice Q. User";
        emailAddress = "alice@example.org";
        password.file = ./password;
      };
    };
    ${more}
  };
}
`
}

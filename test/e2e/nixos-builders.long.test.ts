import { resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { lanCable } from '../fixtures/guest-qemu.js'
import { NixosGuest } from '../systems/nixos/guest.js'
import { countsAsNixos, everything } from './nixos-box.js'
import { rootLogin, type SshOperator, sshOperator } from './ssh-operator.js'

/** The time for a deploy of both guests on a busy host. */
const deployMs = 20 * 60_000

const d = ['-d', 'lab']
const cable = lanCable()
const [webEnd, builderEnd] = cable.ends

let web: NixosGuest
let b1: Guest
let operator: SshOperator

beforeAll(async () => {
  b1 = await startGuest({ name: 'b1', lan: builderEnd })
  web = await NixosGuest.start({ lan: webEnd })
  // All users may use the daemon of NixOS.
  await web.sh(`${countsAsNixos}
echo 'd /nix/var/nix/daemon-socket 0755 root root' > /etc/tmpfiles.d/nix-daemon.conf
systemd-tmpfiles --create /etc/tmpfiles.d/nix-daemon.conf
useradd --create-home alice`)
  operator = sshOperator()
  operator.sshConfig(rootLogin('web.example', web.guest.guest) + rootLogin('b1.example', b1))
  want('{ enable = true; for = [ "web" ]; supportedFeatures = [ "far-away" ]; cache.enable = true; }')
  await operator.ok(['create', 'network.nix', ...d])
})
afterAll(async () => {
  operator?.dispose()
  await web?.dispose()
  await b1?.dispose()
  cable.remove()
})

/** Writes the network: a NixOS machine, and a Debian machine with the given option `deployment.builder`. */
function want(builder: string): void {
  operator.write(
    'network.nix',
    `{
  network.nixpkgs = import ${resolve('test/fixtures/nixpkgs')} { config.guest = true; };
  web = { config, lib, pkgs, ... }: {
    deployment.targetEnv = "none";
    deployment.targetHost = "web.example";
    deployment.targetHostKey = "${web.guest.guest.hostKey}";
    boot.loader.grub.device = "/dev/vda";
    fileSystems."/".device = "/dev/vda1";
    services.openssh.enable = true;
    # The daemon of this guest would otherwise look up a public cache.
    nix.extraOptions = "build-users-group = nixbld\\nsubstituters =\\n";
  };
  b1 = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "b1.example";
    deployment.targetHostKey = "${b1.hostKey}";
    deployment.nix.substituters = [ ];
    deployment.builder = { hostName = "${builderEnd.address}"; } // ${builder};
  };
}
`,
  )
}

async function deploy(...flags: string[]): Promise<string> {
  const all = ['deploy', ...d, '--yes', '--confirm-timeout', '300', ...flags]
  const ended = await operator.run(all, { timeoutMs: deployMs })
  expect(ended.code, everything(ended)).toBe(0)
  await web.guest.reconnect()
  return everything(ended)
}

/** Builds on the NixOS machine as a user whom its daemon does not trust; returns Nix's output. */
const build = (name: string) =>
  web.sh(
    `cd /home/alice && runuser -u alice -- env NIX_REMOTE=daemon nix-build --no-out-link -E "$1" 2>&1 || true`,
    `derivation { name = "${name}"; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" ": > $out" ]; requiredSystemFeatures = [ "far-away" ]; }`,
  )

describe('a NixOS machine for which another machine builds', () => {
  it(
    'sends builds of every user there after one deploy, without an option of its own',
    async () => {
      const said = await deploy('--replace-unknown')
      expect(said).toContain("builder 'b1' answers as ssh://nix-builder@192.0.2.2")
      expect(await build('first')).toMatch(/on 'ssh:\/\/nix-builder@192\.0\.2\.2'/)
      const verified = everything(await operator.run(['setup', 'verify', ...d], { timeoutMs: deployMs }))
      expect(verified).toContain('builders: verified')
      expect(verified).toContain('builder-caches: verified')
    },
    deployMs,
  )

  it(
    'stays as it is by a second deploy',
    async () => {
      expect(await deploy()).not.toMatch(/^(?:b1|web)> changed/m)
    },
    deployMs,
  )

  it(
    'builds no longer there, and keeps no setting and no list, once the builder is dropped',
    async () => {
      want('{ enable = false; }')
      await deploy()
      expect(await web.sh('cat /etc/nix/nix.conf; ls /etc/nix')).not.toMatch(/hydra-ops/)
      expect(await build('second')).toContain('with features {far-away} is required')
      expect(await deploy()).not.toMatch(/^(?:b1|web)> changed/m)
    },
    deployMs,
  )
})

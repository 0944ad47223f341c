import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { packageRoot } from '../../src/core/package-root.js'
import type { Guest } from '../fixtures/guest.js'
import { rootLogin, type SshOperator, sshOperator } from './ssh-operator.js'

const real = process.env.HYDRA_OPS_HYDRA_PACKAGE

/**
 * Creates an operator whose deployment `ci` defines a Hydra on a guest, and is not deployed yet. Hydra and nix-serve
 * are stand-ins (test/fixtures/packages) that use the real PostgreSQL, nginx, Nix daemon and systemd.
 * HYDRA_OPS_HYDRA_PACKAGE names a store path of the real Hydra, which then replaces its stand-in.
 */
export async function hydraOperator(
  guest: Guest,
  password: string,
  options: { readonly machine?: string } = {},
): Promise<SshOperator> {
  const operator = sshOperator()
  operator.sshConfig(rootLogin('ci.example', guest))
  cpSync(join(packageRoot(), 'test/fixtures/packages'), join(operator.folder, 'packages'), {
    recursive: true,
  })
  operator.write('password', `${password}\n`)
  operator.write('network.nix', network(guest, options.machine ?? ''))
  await operator.ok(['create', 'network.nix', '-d', 'ci'])
  return operator
}

function network(guest: Guest, machine: string): string {
  const packages = `(import ./packages { })`
  return `{
  ci = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "ci.example";
    deployment.targetHostKey = "${guest.hostKey}";
    # The stand-ins use these packages.
    deployment.aptPackages = [ "python3-psycopg2" "python3-cryptography" ];
    deployment.hydra = {
      enable = true;
      package = ${real === undefined ? `${packages}.hydra` : JSON.stringify(real)};
      hostName = "hydra.example.org";
      cache.enable = true;
      nixServe = { enable = true; package = ${packages}.nix-serve; };
      nginx = { enable = true; cacheHostName = "cache.example.org"; };
      admin = {
        userName = "alice";
        fullName = "Alice Q. User";
        emailAddress = "alice@example.org";
        password.file = ./password;
      };
    };
    ${machine}
  };
}
`
}

import * as z from 'zod'
import { AutoUpdateOptions } from './auto-update-options.js'
import { HealthChecks } from './health-checks.js'
import { HydraSource } from './hydra-source.js'
import { KeyDefinition } from './key-definition.js'
import { documented, shownAs } from './option-docs.js'
import { readSshOptions } from './ssh-options.js'

const noChecks = { cmd: [], http: [], tcp: [], systemd: [] }

const port = shownAs('port', z.number().int().min(1).max(65535))

/** The option `deployment.os`, the operating system of a machine. */
export const MachineKind = documented(
  z.enum(['debian', 'nixos']).default('nixos'),
  'operating system of the machine; Debian also stands for Ubuntu and their derivatives',
  'debian',
)

/** Options of `deployment.*` that every machine has, of any kind and provider. */
export const CommonOptions = z.strictObject({
  targetEnv: documented(
    z.string().default('none'),
    'the provider: `"libvirtd"` (or `"libvirt"`) makes a guest, `"none"` (or `"ssh"`) takes an existing host',
    'libvirtd',
  ),
  targetHost: documented(
    z.string().min(1).nullish(),
    'provider ssh: address of the host, or its name in your `~/.ssh/config`',
    'web.example.org',
    { shownDefault: "the machine's name" },
  ),
  targetHosts: documented(
    z.array(z.string().min(1)).default([]),
    'provider ssh: several addresses of one host, instead of `targetHost`. They are tried in order, and the first that shows the known host key is taken',
    ['web.lan', 'web.example.org'],
  ),
  targetPort: documented(port.nullish(), 'provider ssh: TCP port of the ssh server', 2222, {
    shownDefault: '`22`, or the port in `~/.ssh/config`',
  }),
  targetUser: documented(
    z.string().min(1).nullish(),
    'provider ssh: user who logs in; any user but root needs `privilegeEscalationCommand`',
    'admin',
    { shownDefault: '`"root"`, or the user in `~/.ssh/config`' },
  ),
  targetHostKey: documented(
    z.string().min(1).nullish(),
    'provider ssh: public key that the host must show at the first contact',
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIERYHSWUit89S0L2+5H0TFp9S12itndkckU1QTtgGn2X',
  ),
  sshOptions: documented(
    z
      .array(z.string())
      .superRefine((words, found) => {
        for (const message of readSshOptions(words).refused) found.addIssue({ code: 'custom', message })
      })
      .default([]),
    "flags of ssh(1) with a keyword in ssh_config(5) (`-p 2222`, `-i FILE`, `-J HOST`), or `-o Keyword=value`. The flags apply to every connection: hydra-ops' own, `ssh`, `scp` and copies. `-F`, `-L` and other flags for a single call are refused. Flags that would loosen the check of the host key have no effect",
    ['-J', 'jump.example.org'],
  ),
  privilegeEscalationCommand: documented(
    z.array(z.string()).default(['sudo', '-H', '--']),
    'command by which a user who is not root becomes root',
    ['doas'],
  ),
  hasFastConnection: documented(
    z.boolean().default(false),
    'option of NixOps without effect, because hydra-ops never compresses ssh',
    true,
  ),
  substituteOnDestination: documented(
    z.boolean().default(false),
    'lets the machine fetch available paths from its substituters; the operator host sends only the others. No effect on a machine with a sudo password, doas, or a login shell that prints',
    true,
  ),
  allowLocalDeployment: documented(
    z.boolean().default(false),
    'option of Colmena; `true` is refused, because the feature is not there yet',
    false,
  ),
  buildOnTarget: documented(
    z.boolean().default(false),
    'option of Colmena; `true` is refused, because the feature is not there yet',
    false,
  ),
  buildOnly: documented(
    z.boolean().default(false),
    'option of Morph; `true` is refused, because the feature is not there',
    false,
  ),
  provisionSSHKey: documented(
    z.boolean().default(false),
    'option of NixOps; `true` is refused, because hydra-ops installs no key on an existing host',
    false,
  ),
  replaceUnknownProfiles: documented(
    z.boolean().default(false),
    'option of Colmena; `true` is refused, and `deploy --replace-unknown` does the same once',
    false,
  ),
  storeKeysOnMachine: documented(
    z.boolean().default(false),
    'option of NixOps; `true` is refused, because no secret may enter the Nix store',
    false,
  ),
  tags: documented(z.array(z.string()).default([]), 'names for `--on @tag` and `network.ordering.tags`', [
    'web',
  ]),
  owners: documented(
    z.array(z.string()).default([]),
    'people who are responsible for the machine; `info --json` shows them',
    ['alice@example.org'],
  ),
  alwaysActivate: documented(
    z.boolean().default(false),
    'activates the machine even if nothing changed',
    true,
  ),
  keys: documented(z.record(z.string(), KeyDefinition).default({}), 'secrets by name', {
    'db.password': { keyFile: './db.password' },
  }),
  healthChecks: documented(HealthChecks.default(noChecks), 'checks at the end of a deploy', {
    tcp: [{ port: 80 }],
  }),
  preDeployChecks: documented(HealthChecks.default(noChecks), 'checks before the machine is touched', {
    tcp: [{ port: 80 }],
  }),
  hydraSource: documented(HydraSource.prefault({}), 'the Hydra whose results `deploy --from-hydra` deploys', {
    job: 'hosts.web',
  }),
  autoUpdate: documented(
    AutoUpdateOptions.prefault({}),
    'updates of the machine by itself, from what a Hydra built',
    { enable: true },
  ),
})
export type CommonOptions = z.infer<typeof CommonOptions>

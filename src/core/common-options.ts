import * as z from 'zod'
import { HealthChecks } from './health-checks.js'
import { KeyDefinition } from './key-definition.js'
import { documented, shownAs } from './option-docs.js'
import { readSshOptions } from './ssh-options.js'

const noChecks = { cmd: [], http: [], tcp: [], systemd: [] }

const port = shownAs('port', z.number().int().min(1).max(65535))

/** The option `deployment.os`. */
export const MachineKind = documented(
  z.enum(['debian', 'nixos']).default('nixos'),
  'the kind of machine; `"nixos"` is not there yet',
  'debian',
)

/** Options of `deployment.*` that every machine has, whatever its kind and provider. */
export const CommonOptions = z.strictObject({
  targetEnv: documented(
    z.string().default('none'),
    'the provider: `"libvirtd"` (or `"libvirt"`), `"none"` (or `"ssh"`)',
    'libvirtd',
  ),
  targetHost: documented(
    z.string().min(1).nullish(),
    'provider ssh: address, or a name of your `~/.ssh/config`',
    'web.example.org',
    { shownDefault: "the machine's name" },
  ),
  targetPort: documented(port.nullish(), 'provider ssh: port of the ssh server', 2222, {
    shownDefault: 'what `~/.ssh/config` says, or `22`',
  }),
  targetUser: documented(
    z.string().min(1).nullish(),
    'provider ssh: account that logs in; not root: then `privilegeEscalationCommand` is used',
    'admin',
    { shownDefault: '`"root"`, or what `~/.ssh/config` says' },
  ),
  targetHostKey: documented(
    z.string().min(1).nullish(),
    'provider ssh: the key that the host must show at the first contact',
    'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIERYHSWUit89S0L2+5H0TFp9S12itndkckU1QTtgGn2X',
  ),
  sshOptions: documented(
    z
      .array(z.string())
      .superRefine((words, found) => {
        for (const message of readSshOptions(words).refused) found.addIssue({ code: 'custom', message })
      })
      .default([]),
    "flags of ssh(1) with a keyword in ssh_config(5) (`-p 2222`, `-i FILE`, `-J HOST`), or `-o Keyword=value`; for hydra-ops' own connections and for `ssh`, `scp` and copies. `-F`, `-L` and other flags for one call are refused; those that would loosen the check of the host key are left out",
    ['-J', 'jump.example.org'],
  ),
  privilegeEscalationCommand: documented(
    z.array(z.string()).default(['sudo', '-H', '--']),
    'how a user who is not root becomes root',
    ['doas'],
  ),
  hasFastConnection: documented(
    z.boolean().default(false),
    'taken over from NixOps; hydra-ops never compresses ssh',
    true,
  ),
  substituteOnDestination: documented(
    z.boolean().default(false),
    'the machine fetches from its substituters what they have, instead of being sent it',
    true,
  ),
  allowLocalDeployment: documented(
    z.boolean().default(false),
    'taken over from Colmena; `true` is refused: not there yet',
    false,
  ),
  buildOnTarget: documented(
    z.boolean().default(false),
    'taken over from Colmena; `true` is refused: not there yet',
    false,
  ),
  tags: documented(z.array(z.string()).default([]), 'names for `--on @tag` and `network.ordering.tags`', [
    'web',
  ]),
  owners: documented(
    z.array(z.string()).default([]),
    'people who answer for the machine: shown by `info --json`',
    ['alice@example.org'],
  ),
  alwaysActivate: documented(z.boolean().default(false), 'activate also when nothing changed', true),
  keys: documented(z.record(z.string(), KeyDefinition).default({}), 'secrets by name', {
    'db.password': { keyFile: './db.password' },
  }),
  healthChecks: documented(HealthChecks.default(noChecks), 'checks at the end of a deploy', {
    tcp: [{ port: 80 }],
  }),
  preDeployChecks: documented(HealthChecks.default(noChecks), 'checks before the machine is touched', {
    tcp: [{ port: 80 }],
  }),
})
export type CommonOptions = z.infer<typeof CommonOptions>

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { NixosGuest } from '../systems/nixos/guest.js'
import { everything } from './nixos-box.js'
import { freshNixos, nixosHydraOperator } from './nixos-hydra-box.js'
import type { SshOperator } from './ssh-operator.js'

const d = ['-d', 'ci']

let guest: NixosGuest
let operator: SshOperator | undefined

beforeAll(async () => {
  guest = await freshNixos()
})
afterAll(async () => {
  operator?.dispose()
  await guest?.dispose()
})

/** Creates a deployment. Every later deployment starts with the guest in its first state. */
async function begin(more: string): Promise<void> {
  if (operator !== undefined) {
    operator.dispose()
    operator = undefined
    guest.guest.host.close()
    await guest.guest.guest.revert('fresh')
    await guest.guest.reconnect()
  }
  operator = await nixosHydraOperator(guest, more)
}

/** Runs a verb, and returns its output; the test fails if the verb fails. */
async function succeed(verb: readonly string[], flags: readonly string[] = []): Promise<string> {
  if (operator === undefined) throw new Error('no deployment has begun')
  const ended = await operator.run([...verb, ...d, ...flags])
  expect(ended.code, everything(ended)).toBe(0)
  await guest.guest.reconnect()
  return everything(ended)
}

const deploy = (...flags: string[]) => succeed(['deploy'], ['--yes', '--confirm-timeout', '300', ...flags])

const Rows = z.array(z.object({ task: z.string(), state: z.string(), detail: z.string().optional() }))

async function status(): Promise<Record<string, string>> {
  const stdout = (await operator?.ok(['setup', 'status', ...d, '--json'])) ?? ''
  const rows = Rows.parse(JSON.parse(stdout))
  return Object.fromEntries(
    rows.map(({ task, state, detail }) => [task, detail === undefined ? state : `${state}: ${detail}`]),
  )
}

const services = [
  ...['hydra-evaluator', 'hydra-init', 'hydra-notify', 'hydra-queue-runner', 'hydra-server'],
  ...['nginx', 'nix-serve', 'postgresql'],
]

/** Everything that a second deploy must not touch. */
const untouched = () =>
  guest.sh(`systemctl show -p Id,ActiveState,NRestarts,ExecMainStartTimestampMonotonic ${services.join(' ')}
find /etc/nix /var/lib/hydra/cache ! -name '*.hydra-ops*' -exec stat -c '%n %U:%G %a %s %Y %i' {} + | sort
ls -l --time-style=full-iso /nix/var/nix/profiles; wc -l < /var/log/stand-in-switches`)

/** Logs in as a browser does, and prints the first line of the answer. The guest has no curl and no perl. */
const login = (name: string, password: string) =>
  guest.sh(`python3 -IB - <<'END'
import http.client, json
hydra = http.client.HTTPConnection("127.0.0.1", 80, timeout=120)
body = json.dumps({"username": "${name}", "password": "${password}"})
hydra.request("POST", "/login", body, {"Host": "hydra.example.org", "Origin": "http://hydra.example.org",
  "Accept": "application/json", "Content-Type": "application/json"})
print(hydra.getresponse().status)
END`)

describe('a Hydra of a NixOS machine', () => {
  beforeAll(() => begin(''))

  it('gets its key, its cache, its user and its proof by set-up tasks, and all else by NixOS', async () => {
    await deploy('--replace-unknown')
    expect(await status()).toEqual({
      'cache-key': 'done',
      'binary-cache': 'done',
      'nix-serve-proof': 'done',
      'admin-user': 'done',
      'hydra-proof': 'done',
    })
    // The queue runner and nix-serve waited for the key.
    expect(await guest.sh(`systemctl is-active ${services.join(' ')}`)).toBe(
      services.map(() => 'active').join('\n'),
    )
    expect(await guest.sh("stat -c '%U:%G %a' /etc/nix/ci/secret /etc/nix/ci/public")).toBe(
      'root:hydra 640\nroot:root 644',
    )
    expect(await login('alice', 'from-a-file-5Yh')).toBe('302')
    // Each finished build is signed in the cache.
    expect(await guest.sh('grep -h "^Sig: " /var/lib/hydra/cache/*.narinfo')).toMatch(/^Sig: ci-ci-1:/)
  })

  it('stays as it is by a second deploy', async () => {
    const before = await untouched()
    expect(await deploy()).toContain('Up-to-date')
    expect(await untouched()).toBe(before)
  })

  it('is proved anew by setup verify', async () => {
    expect(await succeed(['setup', 'verify'])).toContain('hydra-proof: verified')
  })

  it('works after a boot, which begins with PostgreSQL and Hydra down', async () => {
    await succeed(['reboot'])
    expect(await succeed(['setup', 'verify'])).toContain('hydra-proof: verified')
    expect(await status()).toEqual({
      'cache-key': 'done',
      'binary-cache': 'done',
      'nix-serve-proof': 'done',
      'admin-user': 'done',
      'hydra-proof': 'done',
    })
  })
})

/** A service as in many NixOps networks, which creates the key and the first user once. */
const ownSetup = `
  deployment.hydra.cache.secretKeyFile = "/etc/nix/hydra.example.org/secret";
  systemd.services.hydra-manual-setup = {
    description = "Create keys and the first user of Hydra";
    serviceConfig = { Type = "oneshot"; RemainAfterExit = true; };
    wantedBy = [ "multi-user.target" ];
    requires = [ "hydra-init.service" ];
    after = [ "hydra-init.service" ];
    environment = builtins.removeAttrs config.systemd.services.hydra-init.environment [ "PATH" ];
    script = ''
      if [ ! -e ~hydra/.setup-is-complete ]; then
        bin=/run/current-system/sw/bin
        $bin/install -d -m 551 /etc/nix/hydra.example.org
        $bin/nix-store --generate-binary-cache-key hydra.example.org /etc/nix/hydra.example.org/secret /etc/nix/hydra.example.org/public
        $bin/chown -R hydra:hydra /etc/nix/hydra.example.org
        $bin/chmod 440 /etc/nix/hydra.example.org/secret
        $bin/chmod 444 /etc/nix/hydra.example.org/public
        $bin/hydra-create-user alice --full-name 'Alice A. Own' --email-address 'own@example.org' --password of-the-service --role admin
        touch ~hydra/.setup-is-complete
      fi
    '';
  };
`

/** Returns the key and the users, which the network's own service created. */
const made = () =>
  guest.sh(`sha256sum /etc/nix/hydra.example.org/*
stat -c '%n %U:%G %a %Y %i' /etc/nix/hydra.example.org /etc/nix/hydra.example.org/*
cd /; runuser -u hydra -- psql -At -d hydra -c 'select username, fullname, emailaddress, password from users order by 1'`)

describe('a Hydra whose user has a service that makes key and user', () => {
  beforeAll(() => begin(ownSetup))

  it('keeps the key and the user of the service, and says which tasks do not run', async () => {
    const said = await deploy('--replace-unknown')
    expect(said).toContain(
      "set-up task 'cache-key' does not run, because the machine's own service 'hydra-manual-setup' creates the key",
    )
    expect(said).toContain(
      "set-up task 'admin-user' does not run, because the machine's own service 'hydra-manual-setup' creates users",
    )
    expect(await status()).toEqual({ 'binary-cache': 'done', 'nix-serve-proof': 'done' })
    const before = await made()
    expect(before).toContain('alice|Alice A. Own|own@example.org|')
    expect(before).toContain('/etc/nix/hydra.example.org/secret hydra:hydra 440')
    // hydra-ops created no key.
    expect(await guest.sh('ls /etc/nix')).toBe('hydra.example.org\nnix.conf')
    await guest.until('systemctl is-active hydra-queue-runner nix-serve')
    expect(await succeed(['setup', 'verify'])).toContain('binary-cache: verified')
    expect(await deploy()).toContain('Up-to-date')
    expect(await made()).toBe(before)
    await guest.until('systemctl is-active hydra-server nginx')
    expect(await login('alice', 'of-the-service')).toBe('302')
  })
})

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { MachineDefinition } from '../../src/core/definition.js'
import { setupTasks } from '../../src/setup/tasks.js'
import { bootable, machineOf, wholeHydra } from './nixos-networks.js'
import {
  builtInProviders,
  createNixSandbox,
  fixtureNixpkgs,
  type NixSandbox,
  oldNixpkgs,
} from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox('', builtInProviders)
})
afterEach(() => nix.dispose())

const releases = [
  ['of today', fixtureNixpkgs],
  ['of 2017', oldNixpkgs],
] as const

/** Evaluates a machine with Hydra, and returns values that expressions compute from its configuration. */
async function valuesOf(
  definitions: string,
  values: string,
  nixpkgs: string = fixtureNixpkgs,
): Promise<unknown[]> {
  const { options } = await evaluated(
    `${definitions}\n deployment.owners = map builtins.toJSON [ ${values} ];`,
    nixpkgs,
  )
  return options.owners.map((text) => JSON.parse(text))
}

async function evaluated(definitions: string, nixpkgs: string = fixtureNixpkgs): Promise<MachineDefinition> {
  nix.write(
    'hydra.nix',
    `{ network.nixpkgs = ${nixpkgs}; ci = { config, lib, pkgs, ... }: { ${bootable} ${definitions} }; }`,
  )
  return machineOf(await nix.evaluate('hydra.nix', { mode: 'write' }), 'ci')
}

function tasksOf(definition: MachineDefinition): string[] {
  const machine = { definition, deployment: 'lab', publishedPort: () => undefined }
  return setupTasks.flatMap((bind) => bind(machine)?.id ?? [])
}

describe('deployment.hydra on a NixOS machine', () => {
  it.each(releases)('becomes the services of a nixpkgs %s, which builds', async (_, nixpkgs) => {
    const machine = await evaluated(wholeHydra, nixpkgs)
    expect(machine.drvPath).toMatch(/-nixos-system-ci-/)
    const values = await valuesOf(
      wholeHydra,
      `config.services.hydra.hydraURL config.services.hydra.notificationSender config.services.hydra.listenHost
       config.services.hydra.smtpHost config.services.nix-serve.secretKeyFile config.services.nix-serve.bindAddress
       config.networking.firewall.allowedTCPPorts config.services.postfix.enable config.services.postgresql.enable
       config.services.hydra.buildMachinesFiles config.environment.etc."hydra/machines".text config.nix.gc.dates`,
      nixpkgs,
    )
    expect(values).toEqual([
      'http://hydra.example.org',
      'hydra@hydra.example.org',
      '127.0.0.1',
      '127.0.0.1',
      '/etc/nix/ci/secret',
      '127.0.0.1',
      [80],
      true,
      true,
      ['/etc/hydra/machines', '/etc/hydra/builders'],
      'localhost x86_64-linux - 2 1 kvm - -\nnix@b.example.org aarch64-linux /etc/hydra/b.key 1 1 - - -\n',
      'weekly',
    ])
  })

  it('serves the store by nix-serve-ng where nixpkgs has it, and the definitions choose another package', async () => {
    const serving = (more = '') =>
      `deployment.hydra = { enable = true; nixServe = { enable = true; ${more} }; };`
    const which = 'config.services.nix-serve.package.name'
    const ofFile = 'baseNameOf (toString config.services.nix-serve.package)'
    const ng = await valuesOf(serving(), `(config.services.nix-serve.package == pkgs.nix-serve-ng)`)
    expect(ng).toEqual([true])
    expect(
      await valuesOf(
        serving('package = pkgs.nix-serve;'),
        `(${ofFile} == baseNameOf (toString pkgs.nix-serve))`,
      ),
    ).toEqual([true])
    const own = 'services.nix-serve.package = pkgs.hello;'
    expect(await valuesOf(`${serving()} ${own}`, which)).toEqual(['hello'])
  })

  it.each(releases)(
    'lets the nix-serve of a nixpkgs %s read NARs, and a definition of the user wins',
    async (_, nixpkgs) => {
      const which = 'config.systemd.services.nix-serve.environment.NIX_CONFIG'
      const serving = 'deployment.hydra = { enable = true; nixServe.enable = true; };'
      expect(await valuesOf(serving, which, nixpkgs)).toEqual(['extra-experimental-features = nix-command'])
      const own = 'systemd.services.nix-serve.environment.NIX_CONFIG = "max-jobs = 1";'
      expect(await valuesOf(`${serving} ${own}`, which, nixpkgs)).toEqual(['max-jobs = 1'])
    },
  )

  it('shows logs of running builds through nginx where nixpkgs has their program', async () => {
    const values = await valuesOf(
      wholeHydra,
      `config.services.nginx.virtualHosts."hydra.example.org".locations."= /hydra-ws".proxyPass
       (builtins.match ".*ws_endpoint = ([^\n]*)\n.*" config.services.hydra.extraConfig)
       config.services.nginx.virtualHosts."hydra.example.org".locations."= /hydra-ws".extraConfig
       config.services.nginx.virtualHosts."hydra.example.org".locations."= /.hydra-ops-visitor".proxyPass
       config.services.nginx.virtualHosts."hydra.example.org".locations."= /.hydra-ops-visitor".extraConfig`,
    )
    const [address, endpoint, logs, hydra, visitor] = values
    expect([address, endpoint, hydra]).toEqual([
      'http://[::1]:9283',
      ['ws://hydra.example.org/hydra-ws'],
      'http://127.0.0.1:3000/',
    ])
    const names = 'hydra\\.example\\.org|hydra\\.example\\.org|localhost'
    expect(logs).toContain(
      `if ($hydra_ops_origin !~* "^(https?://(${names})(:[0-9]+)?)?$") { return 403; }\n`,
    )
    expect(logs).toContain('auth_request /.hydra-ops-visitor;\n')
    expect(visitor).toContain('\ninternal;\n')
    const hidden = `${wholeHydra} deployment.hydra.projects.p.private = true; deployment.hydra.url = "https://[2001:db8::1]:8443/";`
    expect(
      await valuesOf(
        hidden,
        `config.services.nginx.virtualHosts."hydra.example.org".locations."= /.hydra-ops-visitor".proxyPass
         (builtins.match ".*localhost.*" config.services.nginx.virtualHosts."hydra.example.org".locations."= /hydra-ws".extraConfig != null)
         (builtins.match ".*[|]..2001:db8::1.*" config.services.nginx.virtualHosts."hydra.example.org".locations."= /hydra-ws".extraConfig != null)`,
      ),
    ).toEqual(['http://127.0.0.1:3000/current-user', true, true])
    const off = `${wholeHydra} services.hydra.ws.enable = false;`
    expect(
      await valuesOf(off, '(builtins.match ".*ws_endpoint.*" config.services.hydra.extraConfig)'),
    ).toEqual([null])
  })

  it('passes the host on without the words that gixy refuses, with which nixpkgs checks nginx', async () => {
    const [texts] = await valuesOf(
      wholeHydra,
      `(builtins.concatLists (map (site: map (place: place.extraConfig) (builtins.attrValues site.locations))
         (builtins.attrValues config.services.nginx.virtualHosts)))`,
    )
    const said = JSON.stringify(texts)
    expect(said).toContain('set $hydra_ops_host $http_host;\\nproxy_set_header Host $hydra_ops_host;')
    expect(said).not.toMatch(/Host \$http_host|\(\$http_origin/)
  })

  it('serves the store by harmonia with its own module, and waits for the key', async () => {
    const serving = `deployment.hydra = { enable = true; nixServe = { enable = true; port = 5001; package = pkgs.harmonia; }; };`
    const values = await valuesOf(
      serving,
      `config.services.nix-serve.enable config.services.harmonia.cache.enable config.services.harmonia.cache.settings
       config.services.harmonia.cache.signKeyPaths config.services.harmonia.package.name
       config.systemd.services.harmonia.unitConfig.ConditionPathExists`,
    )
    const key = '/etc/nix/ci/secret'
    expect(values).toEqual([false, true, { bind: '127.0.0.1:5001' }, [key], 'harmonia-3.2.0', key])
  })

  it('is refused with harmonia where nixpkgs has no module of it', async () => {
    const serving = `deployment.hydra = { enable = true; nixServe = { enable = true; package = pkgs.harmonia; }; };`
    await expect(evaluated(serving, oldNixpkgs)).rejects.toThrow(/this nixpkgs has no services\.harmonia/)
  })

  it.each([
    [
      'of today',
      fixtureNixpkgs,
      'config.nix.settings.trusted-users config.nix.settings.auto-optimise-store config.services.postfix.config.inet_interfaces',
      [true, 'loopback-only'],
    ],
    [
      'of 2017',
      oldNixpkgs,
      'config.nix.trustedUsers config.nix.extraOptions config.services.postfix.extraConfig',
      ['auto-optimise-store = true\n', 'inet_interfaces = loopback-only\n'],
    ],
  ])(
    'uses the names of a nixpkgs %s, and keeps root among the trusted users',
    async (_, nixpkgs, values, rest) => {
      const [trusted, ...others] = await valuesOf(wholeHydra, values, nixpkgs)
      expect(trusted).toEqual(expect.arrayContaining(['root', 'alice', 'hydra-queue-runner']))
      expect(others).toEqual(rest)
    },
  )

  it('adds its lines to hydra.conf beside those of nixpkgs, and waits for the key instead of failing', async () => {
    const [conf, condition, path] = await valuesOf(
      wholeHydra,
      `config.services.hydra.extraConfig config.systemd.services.hydra-queue-runner.unitConfig config.systemd.paths.hydra-queue-runner`,
    )
    expect(conf).toContain('base_uri = http://hydra.example.org')
    expect(conf).toContain('store_uri = file:///var/lib/hydra/cache?secret-key=/etc/nix/ci/secret')
    expect(conf).toContain('binary_cache_secret_key_file = /etc/nix/ci/secret')
    expect(condition).toEqual({ ConditionPathExists: '/etc/nix/ci/secret' })
    expect(path).toEqual({
      wantedBy: ['multi-user.target'],
      pathConfig: { PathChanged: '/etc/nix/ci/secret' },
    })
  })

  it.each(releases)(
    'lets nginx pass to a cache in the folder of Hydra, with a nixpkgs %s',
    async (_, nixpkgs) => {
      const script = 'config.systemd.services.hydra-init.preStart'
      const [started] = await valuesOf(wholeHydra, script, nixpkgs)
      expect(started).toMatch(/chmod 0750 \/var\/lib\/hydra\n(?:.*\n)*chmod 0751 \/var\/lib\/hydra\n$/)
      const elsewhere = 'deployment.hydra.cache.directory = "/srv/cache";'
      const [asItIs] = await valuesOf(`${wholeHydra} ${elsewhere}`, script, nixpkgs)
      expect(asItIs).not.toContain('0751')
      const own = 'services.hydra.enable = false;'
      expect(
        await valuesOf(`${wholeHydra} ${own}`, '(config.systemd.services ? hydra-init)', nixpkgs),
      ).toEqual([false])
    },
  )

  it.each(releases)('proxies with the host that users typed, with a nixpkgs %s', async (_, nixpkgs) => {
    const [hosts] = await valuesOf(
      wholeHydra,
      '(lib.genAttrs (builtins.attrNames config.services.nginx.virtualHosts) (name: { inherit (config.services.nginx.virtualHosts.${name}) locations; }))',
      nixpkgs,
    )
    expect(hosts).toMatchObject({
      'hydra.example.org': {
        locations: {
          '/': {
            proxyPass: 'http://127.0.0.1:3000',
            extraConfig: expect.stringContaining('proxy_set_header Host $hydra_ops_host;'),
            ...(nixpkgs === oldNixpkgs ? {} : { recommendedProxySettings: false }),
          },
          '/static-cache/': { extraConfig: expect.stringContaining('alias /var/lib/hydra/cache/;') },
        },
      },
      'cache.example.org': { locations: { '/': { proxyPass: 'http://127.0.0.1:5000' } } },
    })
  })

  it.each(releases)('yields to definitions of services.hydra, with a nixpkgs %s', async (_, nixpkgs) => {
    const own = `services.hydra = { hydraURL = "https://own.example.org"; port = 3333; notificationSender = "own@example.org"; };
      services.nix-serve.port = 5555;
      services.nginx.virtualHosts."hydra.example.org".locations."/".proxyPass = "http://127.0.0.1:9";`
    const values =
      'config.services.hydra.hydraURL config.services.nix-serve.port config.services.nginx.virtualHosts."hydra.example.org".locations."/".proxyPass'
    expect(await valuesOf(`${wholeHydra} ${own}`, values, nixpkgs)).toEqual([
      'https://own.example.org',
      5555,
      'http://127.0.0.1:9',
    ])
    const { options } = await evaluated(`${wholeHydra} ${own}`, nixpkgs)
    if (!('hydra' in options)) throw new Error('no hydra')
    expect(options.hydra).toMatchObject({ url: 'https://own.example.org', port: 3333, enable: true })
    expect(options.hydra.package).toMatch(/^\/nix\/store\/.*-hydra-server$/)
  })

  it('is nothing where it is not enabled: the same system as without its options', async () => {
    const { drvPath } = await evaluated('')
    expect((await evaluated('deployment.hydra.cache.enable = true;')).drvPath).toBe(drvPath)
  })

  it('leaves keys, users and a proof to set-up tasks, and everything else to NixOS', async () => {
    expect(tasksOf(await evaluated(wholeHydra))).toEqual([
      'cache-key',
      'binary-cache',
      'nix-serve-proof',
      'admin-user',
      'hydra-proof',
    ])
    expect(tasksOf(await evaluated('deployment.cacheKey.enable = true;'))).toEqual(['cache-key'])
    expect(tasksOf(await evaluated(''))).toEqual([])
  })

  it('leaves alone what a service of the user makes, and says so', async () => {
    const service = `systemd.services.hydra-manual-setup.script = ''
      nix-store --generate-binary-cache-key ci /etc/nix/ci/secret /etc/nix/ci/public
      hydra-create-user admin --role admin
    '';`
    expect(tasksOf(await evaluated(`${wholeHydra} ${service}`))).toEqual(['binary-cache', 'nix-serve-proof'])
    expect(nix.logged.filter((line) => line.startsWith('note: '))).toEqual([
      "note: machine 'ci': set-up task 'cache-key' does not run, because the machine's own service 'hydra-manual-setup' creates the key",
      "note: machine 'ci': set-up task 'admin-user' does not run, because the machine's own service 'hydra-manual-setup' creates users; 'hydra-proof' does not run either, because it would need their password",
    ])
  })

  it('leaves the same tasks alone without an evaluation of the closure', async () => {
    const service = `systemd.services.own.script = "nix-store --generate-binary-cache-key ci /etc/nix/ci/secret /etc/nix/ci/public";`
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${fixtureNixpkgs}; ci = { ${bootable} ${wholeHydra} ${service} system.build.toplevel = throw "expensive"; }; other = { ${bootable} services.hydra = throw "expensive"; }; }`,
    )
    const only = { only: ['ci'], mode: 'tasks' } as const
    const machine = machineOf(await nix.evaluate('hydra.nix', only), 'ci')
    expect(machine).toMatchObject({ leftAlone: { 'cache-key': 'own' } })
    expect(tasksOf(machine)).toEqual(['binary-cache', 'nix-serve-proof', 'admin-user', 'hydra-proof'])
  })

  it.each(releases)('has the server of the store proved, with a nixpkgs %s', async (_, nixpkgs) => {
    const machine = await evaluated(`${wholeHydra} services.nix-serve.port = 5555;`, nixpkgs)
    expect(machine).toMatchObject({
      storeServer: {
        unit: 'nix-serve.service',
        address: '127.0.0.1',
        port: 5555,
        package: nixpkgs === oldNixpkgs ? null : expect.stringMatching(/^\/nix\/store\/.*-nix-serve$/),
      },
    })
    const elsewhere = 'services.nix-serve.secretKeyFile = "/srv/other";'
    expect(tasksOf(await evaluated(`${wholeHydra} ${elsewhere}`, nixpkgs))).not.toContain('nix-serve-proof')
    const off = 'services.nix-serve.enable = false;'
    expect(tasksOf(await evaluated(`${wholeHydra} ${off}`, nixpkgs))).not.toContain('nix-serve-proof')
  })

  it('has harmonia proved at the address of its own settings', async () => {
    const serving = `deployment.hydra = { enable = true; nixServe = { enable = true; package = pkgs.harmonia; }; };
      services.harmonia.cache.settings.bind = "[::1]:5003";`
    expect(await evaluated(serving)).toMatchObject({
      storeServer: { unit: 'harmonia.service', address: '::1', port: 5003 },
    })
    const otherKey = 'services.harmonia.cache.signKeyPaths = [ "/srv/other" ];'
    expect(tasksOf(await evaluated(`${serving} ${otherKey}`))).toEqual(['cache-key'])
    const unixSocket = serving.replace('[::1]:5003', 'unix:/run/harmonia')
    expect(tasksOf(await evaluated(unixSocket))).toEqual(['cache-key'])
  })

  it('names a key of the user in another file, which nothing of hydra-ops would use', async () => {
    const elsewhere = `systemd.services.own-key.serviceConfig.ExecStart = "/bin/nix-store --generate-binary-cache-key ci /srv/secret /srv/public";`
    await evaluated(`${wholeHydra} ${elsewhere}`)
    expect(nix.logged.join('\n')).toContain(
      "'own-key' creates the key; the service names a file other than /etc/nix/ci/secret: set deployment.hydra.cache.secretKeyFile to its file",
    )
    nix.logged.splice(0)
    await evaluated(`${wholeHydra} ${elsewhere} deployment.hydra.cache.secretKeyFile = "/srv/secret";`)
    expect(nix.logged.join('\n')).toMatch(/'own-key' creates the key$/m)
  })

  it.each([
    [
      'deployment.hydra.database.name = "ci";',
      'deployment.hydra.database.name: the database of a NixOS machine is called "hydra"; services.hydra.dbi names another one',
    ],
    [
      'deployment.hydra.nginx = { enable = true; tls = "self-signed"; };',
      'deployment.hydra.nginx.tls: a NixOS machine does not create a certificate; use "files" with a certificate from deployment.keys, or "acme"',
    ],
    [
      'deployment.hydra.sendStats = true;',
      'deployment.hydra.sendStats: services.hydra of NixOS sends statistics by itself; remove the option',
    ],
    [
      'deployment.hydra.gc = { automatic = true; dates = "15 3 * * *"; };',
      'deployment.hydra.gc.dates: NixOS does not support cron lines; write "*-*-* 3:15:00"',
    ],
    [
      'deployment.hydra.cache.enable = true; services.hydra.extraConfig = "store_uri = file:///srv";',
      "deployment.hydra.extraConfig: hydra.conf would have store_uri twice; move the line from services.hydra.extraConfig to deployment.hydra.extraConfig, which replaces hydra-ops' line",
    ],
  ])('refuses what NixOS cannot follow: %s', async (definition, sentence) => {
    nix.write(
      'hydra.nix',
      `{ network.nixpkgs = ${fixtureNixpkgs}; ci = { ${bootable} deployment.hydra.enable = true; ${definition} }; }`,
    )
    const { message } = await nix.refusal('hydra.nix')
    expect(message).toBe(`machine 'ci' (hydra.nix): ${sentence}`)
  })
})

describe('deployment.nix on a NixOS machine', () => {
  it.each([
    [
      'of today',
      fixtureNixpkgs,
      'config.nix.settings.trusted-users config.nix.settings.substituters config.nix.settings.allowed-uris',
    ],
    ['of 2017', oldNixpkgs, 'config.nix.trustedUsers config.nix.binaryCaches config.nix.extraOptions'],
  ])('becomes settings of a nixpkgs %s', async (_, nixpkgs, values) => {
    const definition =
      'deployment.nix = { trustedUsers = [ "bob" ]; substituters = [ "https://c.example.org" ]; allowedUris = [ "https://g/" ]; extraOptions = "max-jobs = 3"; };'
    const [trusted, caches, uris] = await valuesOf(definition, values, nixpkgs)
    expect(trusted).toEqual(expect.arrayContaining(['root', 'bob']))
    expect(caches).toEqual(['https://c.example.org'])
    if (nixpkgs === oldNixpkgs) expect(uris).toBe('allowed-uris = https://g/\n\nmax-jobs = 3')
    else expect(uris).toEqual(['https://g/'])
  })
})

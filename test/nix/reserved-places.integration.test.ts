import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createNixSandbox, type NixSandbox } from './real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox()
})
afterEach(() => nix.dispose())

const network = (deployment: string) => `{ web.deployment = { os = "debian"; ${deployment} }; }`
const hydra = 'hydra.enable = true;'

describe('a place that hydra-ops writes on a machine', () => {
  it.each([
    [
      'nix.conf, which would lose the line that includes our settings',
      'files."/etc/nix/nix.conf".text = "max-jobs = 4\\n";',
      `deployment.files."/etc/nix/nix.conf": set-up task 'nix' writes /etc/nix/nix.conf; use deployment.nix.extraOptions`,
    ],
    [
      'a unit of a task',
      `${hydra} units."hydra-server.service".text = "[Service]\\nExecStart=/bin/true\\n";`,
      `deployment.units."hydra-server.service": set-up task 'hydra' writes /etc/systemd/system/hydra-server.service; use a drop-in: deployment.files."/etc/systemd/system/hydra-server.service.d/own.conf"`,
    ],
    [
      'a file in the folder that the options name',
      `${hydra} hydra.cache = { enable = true; directory = "/srv/cache"; }; files."/srv/cache/nix-cache-info".text = "";`,
      `deployment.files."/srv/cache/nix-cache-info": set-up task 'binary-cache' writes /srv/cache/nix-cache-info; use another folder, or another deployment.hydra.cache.directory`,
    ],
    [
      'the configuration of Hydra, given as a key',
      `${hydra} keys.conf = { text = "x"; destDir = "/etc/hydra"; name = "hydra.conf"; };`,
      `deployment.keys.conf: set-up task 'hydra' writes /etc/hydra/hydra.conf; use deployment.hydra.extraConfig`,
    ],
    [
      'our own record, given as a key',
      'keys.owner = { text = "x"; destDir = "/var/lib/hydra-ops"; };',
      'deployment.keys.owner: hydra-ops itself writes /var/lib/hydra-ops/owner; use another folder',
    ],
    [
      'the unit of a key',
      'keys.db.text = "x"; units."db-key.service".text = "[Service]\\n";',
      'deployment.units."db-key.service": deployment.keys.db writes /etc/systemd/system/db-key.service; use another name for the key or the unit',
    ],
    [
      'a file that is a key too',
      'keys.db = { text = "x"; destDir = "/etc/app"; }; files."/etc/app/db".text = "y";',
      'deployment.files."/etc/app/db": deployment.keys.db writes /etc/app/db too; keep one of the two options',
    ],
    [
      'the users of the machine',
      'files."/etc/passwd".text = "root:x:0:0::/root:/bin/sh\\n";',
      'deployment.files."/etc/passwd": useradd of a package or of a set-up task writes /etc/passwd; use deployment.activate to create users',
    ],
  ])('is refused in its definition: %s', async (_, deployment, sentence) => {
    nix.write('hydra.nix', network(deployment))
    for (const mode of ['shape', 'write'] as const) {
      const { message, exitCode } = await nix.refusal('hydra.nix', { mode })
      expect(message).toBe(`machine 'web' (hydra.nix): ${sentence}`)
      expect(exitCode).toBe(2)
    }
  })
})

it('a file of a task is free on a machine that does not want the task', async () => {
  nix.write('hydra.nix', network('units."hydra-server.service".text = "[Service]\\nExecStart=/bin/true\\n";'))
  expect((await nix.evaluate('hydra.nix')).machines.size).toBe(1)
})

it('a reserved place is reported beside all other mistakes, in options as well as in other files', async () => {
  nix.write(
    'hydra.nix',
    network(
      'targetPort = "x"; files."/etc/nix/nix.conf".text = ""; files."/etc/a".mode = 644; files."/etc/b" = { };',
    ),
  )
  const { message } = await nix.refusal('hydra.nix')
  expect(message.split('\n').map((line) => line.replace("machine 'web' (hydra.nix): ", ''))).toEqual([
    'deployment.files."/etc/a".mode: expected a string, got 644',
    'deployment.files."/etc/a": neither text nor source is given',
    'deployment.files."/etc/b": neither text nor source is given',
    'deployment.targetPort: expected a number, got "x"',
    `deployment.files."/etc/nix/nix.conf": set-up task 'nix' writes /etc/nix/nix.conf; use deployment.nix.extraOptions`,
  ])
})

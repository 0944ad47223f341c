import { afterEach, beforeEach, expect, it } from 'vitest'
import { autoUpdateOf } from '../../src/core/auto-update-options.js'
import { MachineName } from '../../src/core/names.js'
import { createNixSandbox, type NixSandbox } from '../nix/real-nix.js'

let nix: NixSandbox
beforeEach(() => {
  nix = createNixSandbox()
})
afterEach(() => nix.dispose())

/** Evaluates a machine with these options, and returns the options of its automatic update. */
async function updateOf(deployment: string, network = '') {
  nix.write('hydra.nix', `{ ${network} web.deployment = { os = "debian"; ${deployment} }; }`)
  const machine = (await nix.evaluate('hydra.nix')).machines.get(MachineName.parse('web'))
  if (machine === undefined) throw new Error('the machine is not there')
  return autoUpdateOf(machine.name, machine.options)
}

const hydra = 'network.hydra = { url = "https://hydra.example.org/"; project = "infra"; jobset = "main"; };'

it('an update takes what it does not say from the machine, and then from the network', async () => {
  expect(await updateOf('autoUpdate.enable = true;', hydra)).toMatchObject({
    url: 'https://hydra.example.org',
    project: 'infra',
    jobset: 'main',
    job: 'web',
    gate: 'release',
    dates: '04:40',
    maxAge: undefined,
    healthChecks: { systemd: [] },
  })
  const own = `autoUpdate = { enable = true; jobset = "next"; healthChecks.systemd = [ { unit = "a.service"; } ]; };
    hydraSource = { jobset = "other"; job = "hosts.web"; gate = "tests"; };`
  expect(await updateOf(own, hydra)).toMatchObject({
    project: 'infra',
    jobset: 'next',
    job: 'hosts.web',
    gate: 'tests',
    healthChecks: { systemd: [{ unit: 'a.service' }] },
  })
})

it('an update takes the gate of the network if the machine names none', async () => {
  const gated = hydra.replace('jobset = "main";', 'jobset = "main"; gate = "tests";')
  expect(await updateOf('autoUpdate.enable = true;', gated)).toMatchObject({ gate: 'tests' })
  const own = 'autoUpdate.enable = true; hydraSource.gate = "own";'
  expect(await updateOf(own, gated)).toMatchObject({ gate: 'own' })
})

it('an update runs the health checks of the deploy unless it has some of its own', async () => {
  const checks = 'healthChecks.tcp = [ { port = 80; } ];'
  expect(await updateOf(`autoUpdate.enable = true; ${checks}`, hydra)).toMatchObject({
    healthChecks: { tcp: [{ port: 80, total: 60 }] },
  })
  expect(
    await updateOf(`autoUpdate = { enable = true; healthChecks = { }; }; ${checks}`, hydra),
  ).toMatchObject({
    healthChecks: { tcp: [] },
  })
})

it('a machine without the option updates nothing, whatever the network says', async () => {
  expect(await updateOf('', hydra)).toBeUndefined()
})

it('an update that no option tells its Hydra is refused, with what to set', async () => {
  nix.write('hydra.nix', '{ web.deployment = { os = "debian"; autoUpdate.enable = true; }; }')
  expect(await nix.refusal('hydra.nix')).toMatchObject({
    exitCode: 2,
    message:
      "machine 'web': deployment.autoUpdate.enable: no option says which Hydra builds the machine (url)",
    hint: expect.stringContaining('set network.hydra = {'),
  })
})

it.each([
  ['maxAge = "soon"', 'a length of time such as "36h" or "7d"'],
  ['dates = "at noon"', 'expected a calendar event of systemd.time(7)'],
  ['url = "ftp://hydra"', 'a URL such as'],
])('an update with %s is refused', async (option, words) => {
  nix.write(
    'hydra.nix',
    `{ ${hydra} web.deployment = { os = "debian"; autoUpdate = { enable = true; ${option}; }; }; }`,
  )
  expect((await nix.refusal('hydra.nix')).message).toContain(words)
})

import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { OptionQuestion, ShownOption } from '../../src/core/nix.js'
import { optionPath } from '../../src/core/option-name.js'
import { nixText } from '../../src/ui/option-view.js'
import { runCli } from '../commands/run-cli.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { type Deployed, deployed } from './deployed.js'

let world: Deployed
let asked: OptionQuestion[]
beforeEach(async () => {
  world = await deployed()
  asked = []
  answer({ kind: 'other' })
})
afterEach(() => world.ops.cleanup())

/** Lets the evaluation give the same answer for each requested machine. */
function answer(shown: ShownOption): void {
  world.ops.nix.showOption = async (_, question) => {
    asked.push(question)
    const names = ['web', 'db']
    const wanted = names.filter((name) => question.machine === undefined || question.machine === name)
    return { names, shown: new Map(wanted.map((name) => [name, shown])) }
  }
}

const show = (...argv: string[]) => runCli(['show-option', ...argv], { ops: world.ops })
const ports: ShownOption = {
  kind: 'option',
  value: [80],
  type: 'list of integers',
  description: null,
  isDefault: false,
  definitions: [{ file: '/net/hydra.nix', value: [80] }],
}

describe('show-option', () => {
  it('shows the value of every machine, with the definitions and their files', async () => {
    answer(ports)
    const { code, stdout } = await show('networking.firewall.allowedTCPPorts')
    expect(code).toBe(0)
    expect(stdout).toBe(
      ['web', 'db']
        .map(
          (name) =>
            `${name}:\n  value: [\n    80\n  ]\n  type: list of integers\n  defined in /net/hydra.nix: [\n    80\n  ]\n`,
        )
        .join('\n'),
    )
    expect(asked).toEqual([
      { path: ['networking', 'firewall', 'allowedTCPPorts'], machine: undefined, physical: false },
    ])
  })

  it('shows data with --json', async () => {
    answer(ports)
    const { stdout } = await show('networking.firewall.allowedTCPPorts', 'web', '--json')
    expect(JSON.parse(stdout)).toEqual([{ machine: 'web', ...ports }])
  })

  it('takes the order of NixOps too', async () => {
    await show('web', 'networking.hostName')
    await show('networking.hostName', 'web')
    await show('deployment', 'web')
    expect(asked.map(({ path, machine }) => [path.join('.'), machine])).toEqual([
      ['networking.hostName', 'web'],
      ['networking.hostName', 'web'],
      ['deployment', 'web'],
    ])
  })

  it('writes nothing, and does not lock', async () => {
    const before = await world.ops.store.resolve(undefined)
    await world.ops.store.lock(before.uuid, async () => {
      expect((await show('deployment.tags')).code).toBe(0)
    })
    const after = await world.ops.store.resolve(undefined)
    expect(after.machines).toEqual(before.machines)
  })

  it('shows a Debian machine’s options with their defaults, and never a key', async () => {
    const { stdout } = await show('deployment.alwaysActivate', 'web', '--json')
    expect(JSON.parse(stdout)).toMatchObject([{ machine: 'web', value: false, isDefault: true }])
    const keys = { db: { text: 'hush', user: 'postgres' } }
    world.ops.nix.network = fakeNetwork([fakeMachine('web', { deployment: { keys } }), fakeMachine('db')])
    for (const option of ['deployment.keys', 'deployment']) {
      const shown = await show(option, 'web')
      expect(shown.stdout).toContain('postgres')
      expect(shown.stdout).not.toContain('hush')
    }
    expect((await show('deployment.keys.db.text', 'web')).code).toBe(2)
  })

  it.each([
    [
      'deployment.tagz',
      "machine 'web': there is no option deployment.tagz",
      "did you mean 'deployment.tags'?",
    ],
    [
      'services.nginx',
      "machine 'web': there is no option services.nginx",
      'a shorter name lists the options below it',
    ],
  ])('suggests the option that was meant: %s', async (option, message, hint) => {
    const { code, stderr } = await show(option, 'web')
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr).toContain(hint)
  })

  it.each([
    [['networking.hostName', 'wbe'], "there is no machine 'wbe'", "did you mean 'web'?"],
    [['services..nginx'], '"services..nginx" is not a name of an option', 'write names as Nix does'],
    [[], 'show-option needs the name of an option', 'hydra-ops show-option services lists the options below'],
    [['--physical', 'web', 'x'], '--physical shows all facts of a machine, and takes no option', ''],
  ])('refuses %j', async (argv, message, hint) => {
    const { code, stderr } = await show(...argv)
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(stderr).toContain(hint)
  })

  it('shows the facts of the provider as definitions, and the ones that do not count', async () => {
    answer({
      kind: 'facts',
      facts: [
        { option: ['networking', 'privateIPv4'], value: '192.168.9.2', priority: 1000, counts: true },
        { option: ['fileSystems', '/', 'device'], value: '/dev/vda1', priority: 1200, counts: false },
      ],
    })
    const { stdout } = await show('--physical', 'web')
    expect(asked).toEqual([{ path: [], machine: 'web', physical: true }])
    expect(stdout).toBe(`web:
  networking.privateIPv4 = lib.mkDefault "192.168.9.2";
  fileSystems."/".device = lib.mkOverride 1200 "/dev/vda1"; # a definition of yours is stronger
`)
  })

  it('lists the options below a set', async () => {
    answer({ kind: 'set', names: ['enable', 'a b'] })
    expect((await show('services.x', 'web')).stdout).toBe('web:\n  options below:\n    enable\n    "a b"\n')
  })
})

it.each([
  ['a.b', ['a', 'b']],
  ['a."b.c".d', ['a', 'b.c', 'd']],
  ['fileSystems."/"', ['fileSystems', '/']],
  ['"q\\"x"', ['q"x']],
  ['a.', undefined],
  ['.a', undefined],
  ['a b', undefined],
  ['a."b', undefined],
  ['', undefined],
])('the name %j of an option has the parts %j', (text, path) => {
  expect(optionPath(text)).toEqual(path)
})

it.each([
  ['text', '"text"'],
  ['a\u001b[31mb', '"ab"'],
  [[], '[ ]'],
  [{}, '{ }'],
  [{ a: 1, 'b c': [null, true] }, '{\n  a = 1;\n  "b c" = [\n    null\n    true\n  ];\n}'],
])('the value %j is shown as Nix writes it', (value, text) => {
  expect(nixText(value)).toBe(text)
})

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type OperatorHost, operatorHost } from '../e2e/operator.js'

let host: OperatorHost

/** Returns every file below a folder with its bytes, to prove that nothing was written. Shared images are left out. */
function snapshot(folder: string): Record<string, string> {
  const files: Record<string, string> = {}
  for (const name of readdirSync(folder)) {
    const path = join(folder, name)
    if (name === 'images') continue
    if (statSync(path).isDirectory()) Object.assign(files, snapshot(path), { [path]: 'folder' })
    else files[path] = createHash('sha256').update(readFileSync(path)).digest('hex')
  }
  return files
}

async function create(text: string) {
  host.write('network.nix', text)
  await host.ok(['create', 'network.nix', '-d', 'faults'])
}

const debian = 'deployment.os = "debian";'

/** The fault, the expression, and the texts that the message must have. */
const wrong: [string, string, RegExp[]][] = [
  ['a syntax error', '{\n  web = { deployment.os = ; };\n}\n', [/network\.nix:2:/, /syntax/]],
  [
    'infinite recursion',
    '{ web = { config, ... }: { deployment.os = "debian"; deployment.tags = config.deployment.tags; }; }',
    [/infinite recursion/],
  ],
  ['a missing file', '{ web = ./nowhere.nix; }', [/web/, /nowhere\.nix/]],
  [
    'a wrong type',
    `{ web = { ${debian} deployment.targetEnv = "libvirtd"; deployment.libvirtd.memorySize = "4G"; }; }`,
    [/machine 'web' \(network\.nix\): deployment\.libvirtd\.memorySize: expected a number, got "4G"/],
  ],
  [
    'an unknown provider',
    `{ web = { ${debian} deployment.targetEnv = "libvritd"; }; }`,
    [/machine 'web' \(network\.nix\)/, /targetEnv/, /did you mean 'libvirtd'/],
  ],
  [
    'an unknown option',
    `{ web = { ${debian} deployment.targetHots = "x"; }; }`,
    [/machine 'web' \(network\.nix\)/, /targetHots/, /did you mean 'targetHost'/],
  ],
  ['NixOS', '{ web = { }; }', [/web/, /needs nixpkgs/]],
  [
    'two machines on one port',
    `{ defaults = { ${debian} deployment.targetEnv = "libvirtd"; deployment.libvirtd.forwardPorts = [ { host = 28080; guest = 80; } ]; }; a = {}; b = {}; }`,
    [/machines 'a' and 'b' both want port 28080/],
  ],
]

describe('an expression with', () => {
  beforeEach(() => {
    host = operatorHost()
  })
  afterEach(() => host.dispose())

  it.each(wrong)(
    '%s is refused with exit 2, names place and fault, and nothing is written',
    async (_, text, says) => {
      await create(text)
      const before = snapshot(host.state)
      for (const verb of [['plan'], ['deploy', '--yes']]) {
        const ended = await host.run([...verb, '-d', 'faults'])
        for (const what of says) expect(ended.stderr).toMatch(what)
        expect(ended.stderr).not.toMatch(/^ {4}at /m)
        expect(ended.stdout).toBe('')
        expect(ended.code).toBe(2)
      }
      expect(withoutJournal(snapshot(host.state))).toEqual(withoutJournal(before))
      expect(existsSync(join(host.state, 'nix'))).toBe(false)
    },
  )
})

describe('a broken machine', () => {
  beforeEach(() => {
    host = operatorHost()
  })
  afterEach(() => host.dispose())

  it('does not keep the others from being planned when it is not selected', async () => {
    // Nothing listens on port 1.
    await create(`{
      web = { ${debian} deployment.targetHost = "127.0.0.1"; deployment.targetPort = 1; };
      db = { ${debian} deployment.targetHots = "x"; };
    }`)
    const some = await host.run(['plan', '-d', 'faults', '--on', 'web'])
    expect(some.stderr).toMatch(
      /a broken machine is ignored, because it is not selected: machine 'db' .*targetHots/,
    )
    expect(some.stdout).toMatch(/^web +closure +build/m)
    expect(some.code).toBe(0)
    for (const selection of [['--on', 'db'], []]) {
      const all = await host.run(['plan', '-d', 'faults', ...selection])
      expect(all.stderr).toMatch(/targetHots/)
      expect([all.code, all.stdout]).toEqual([2, ''])
    }
  })
})

/** Removes the journal, which may record the attempt; everything else must be unchanged. */
function withoutJournal(files: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(files).filter(([path]) => !path.endsWith('journal.ndjson')))
}

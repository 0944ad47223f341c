import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'
import { readDocument } from './documents.js'
import { type ShellSession, shellSession } from './shell-session.js'
import { missingLine, stepsOf } from './walkthrough.js'

/**
 * The unchanged commands of docs/first-hydra.md, in order, in one shell, on a guest that the commands create. Only the
 * environment differs from a reader's environment. HYDRA_OPS_HYDRA_PACKAGE names another Hydra that replaces the
 * stand-in.
 */
const steps = stepsOf(readDocument('docs/first-hydra.md'))
const real = process.env.HYDRA_OPS_HYDRA_PACKAGE
const minutes = 60_000
/** A whole deploy runs under emulation on a busy host. */
const stepMs = 40 * minutes

let home: string
let shell: ShellSession

beforeAll(() => {
  home = mkdtempSync(join(tmpdir(), 'ho-first-'))
  const checkout = join(home, 'hydra-ops')
  cpSync(packageRoot(), checkout, {
    recursive: true,
    filter: (path) => !['.git', 'node_modules', 'dist'].some((name) => path === join(packageRoot(), name)),
  })
  shell = shellSession({ cwd: checkout, env: environment() })
})

afterAll(async () => {
  // A failed test leaves its machines behind.
  if (existsSync(join(home, 'state', 'deployments'))) {
    const rest = shellSession({ cwd: home, env: environment() })
    const command = `for name in $(node "${packageRoot()}/dist/src/cli.js" list --plain | cut -f 2); do
node "${packageRoot()}/dist/src/cli.js" destroy -d "$name" --yes; done`
    await rest.run(command, stepMs).finally(() => rest.dispose())
  }
  shell?.dispose()
  const emptied = shellSession({ cwd: '/', env: environment() })
  await emptied.run(`chmod -R u+w -- '${home}'`, minutes).finally(() => emptied.dispose())
  rmSync(home, { recursive: true, force: true })
}, stepMs)

/**
 * Returns an environment with a new home and state. Libvirt's session, images and npm's downloads are shared with other
 * tests.
 */
function environment(): Record<string, string> {
  const shared = homedir()
  const images = join(shared, '.cache', 'hydra-ops-test', 'images')
  const state = join(home, 'state')
  mkdirSync(images, { recursive: true })
  mkdirSync(state, { recursive: true, mode: 0o700 })
  if (!existsSync(join(state, 'images'))) symlinkSync(images, join(state, 'images'))
  const kept = Object.entries(process.env).filter(([name]) =>
    /^(?:https?|no)_proxy$|^NODE_EXTRA_CA_CERTS$/i.test(name),
  )
  return {
    ...Object.fromEntries(kept.map(([name, value]) => [name, value ?? ''])),
    PATH: process.env.PATH ?? '/usr/bin:/bin',
    HOME: home,
    HYDRA_OPS_STATE: state,
    XDG_CACHE_HOME: join(shared, '.cache'),
    npm_config_cache: join(shared, '.npm'),
    npm_config_prefer_offline: 'true',
    NO_COLOR: '1',
    // Tests use no public host, such as the default substituter.
    NIX_CONFIG: 'substituters =',
  }
}

it('the walkthrough has one stand-in', () => {
  expect(steps.filter(({ mark }) => mark === 'stand-in')).toHaveLength(1)
})

it.each(steps.map((step) => [`${step.heading}: ${step.commands.split('\n')[0]}`, step] as const))(
  'the step works: %s',
  async (_, { mark, commands, prints }) => {
    const replaced = mark === 'stand-in' && real !== undefined
    const output = await shell.run(replaced ? `export HYDRA_PACKAGE='${real}'` : commands, stepMs)
    expect(missingLine(prints, output), output).toBeUndefined()
  },
  stepMs,
)

it('the walkthrough ends with nothing left of it', async () => {
  const rest = await shell.run(
    'hydra-ops list --plain; virsh --quiet --connect qemu:///session list --all --name',
    minutes,
  )
  expect(rest.trim()).toBe('')
})

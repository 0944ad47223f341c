import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { freePort } from '../fixtures/free-port.js'
import { type PrivatePostgres, startPostgres } from '../hydra/private-postgres.js'
import { StandIns } from '../hydra/stand-in-packages.js'
import { readDocument } from './documents.js'
import { type ShellSession, shellSession } from './shell-session.js'
import { missingLine, type Step, stepsOf } from './walkthrough.js'

/**
 * These tests run the parts of docs/first-hydra.md that use Hydra's web interface, without a guest. The commands use
 * stand-ins for Hydra and hydra-ops on this host. The test first-hydra.long.test.ts runs the whole document unchanged.
 */
const parts = ['Log in', 'A first project', 'Take it from the cache']
const steps = stepsOf(readDocument('docs/first-hydra.md')).filter(({ heading }) => parts.includes(heading))
const password = 'abc-_9'
const deadlineMs = 120_000

const standIns = new StandIns()
const { folder } = standIns.nix
const secret = join(folder, 'secret')
const machine = join(folder, 'srv')
let postgres: PrivatePostgres | undefined
let shell: ShellSession

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-1', secret, `${secret}.pub`])
  const port = await startHydra(await environment())
  mkdirSync(machine)
  mkdirSync(join(folder, 'bin'))
  standInForHydraOps(`http://127.0.0.1:${port}`)
  const cwd = join(folder, 'first-hydra')
  mkdirSync(cwd)
  const path = `${join(folder, 'bin')}:${process.env.PATH}`
  shell = shellSession({ cwd, env: { PATH: path, HOME: cwd, NIX_CONFIG: 'substituters =' } })
})

afterAll(async () => {
  shell?.dispose()
  await standIns.dispose()
  postgres?.stop()
})

async function environment(): Promise<Record<string, string>> {
  const config = [
    'using_frontend_proxy = 1',
    `gc_roots_dir = ${standIns.data}/gcroots`,
    `store_uri = file://${join(folder, 'cache')}?secret-key=${secret}`,
    `binary_cache_secret_key_file = ${secret}`,
    // The kernel chooses a free port, because other tests run at the same time.
    'queue_runner_metrics_address = 127.0.0.1:0',
  ]
  writeFileSync(join(standIns.data, 'hydra.conf'), `${config.join('\n')}\n`)
  const env = await standIns.env({ ...postgres?.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  return { ...env, PATH: `${standIns.bin('hydra')}:/usr/bin:/bin` }
}

async function startHydra(env: Record<string, string>): Promise<number> {
  const port = await freePort()
  expect(standIns.run('hydra', ['hydra-init'], env)).toMatchObject({ status: 0 })
  const user = ['hydra-create-user', 'alice', '--password-prompt', '--role', 'admin']
  expect(standIns.run('hydra', user, env, `${password}\n${password}\n`)).toMatchObject({ status: 0 })
  const server = ['hydra-server', '-f', '-h', '127.0.0.1', '-p', String(port)]
  await standIns.start('hydra', server, env, async ({ log }) => log.includes('Accepting connections at'))
  await standIns.start('hydra', ['hydra-queue-runner', '-v'], env, async ({ log }) =>
    log.includes('checking the queue'),
  )
  await standIns.start('hydra', ['hydra-evaluator'], env, async () => true)
  return port
}

function standInForHydraOps(url: string): void {
  const file = join(folder, 'bin', 'hydra-ops')
  writeFileSync(
    file,
    `#!/bin/sh
case "$*" in
  'hydra url -d hydra') echo '${url}' ;;
  'hydra password alice -d hydra') echo '${password}' ;;
  'cache key -d hydra') cat '${secret}.pub' ;;
  'cache trust-snippet -d hydra') echo "extra-trusted-public-keys = $(cat '${secret}.pub')" ;;
  'scp -d hydra --to ci ./hello /srv') cp -r ./hello '${machine}' ;;
  *) echo "stand-in of hydra-ops: $*" >&2; exit 1 ;;
esac
`,
  )
  chmodSync(file, 0o755)
}

/** Adapts a step to a Hydra without a machine and without nginx: Hydra itself serves the store. */
function here({ commands }: Step): string {
  return commands.replaceAll('"/srv/hello"', `"${machine}/hello"`).replaceAll('$URL/static-cache', '$URL')
}

it('the walkthrough has these parts', () => {
  expect([...new Set(steps.map(({ heading }) => heading))]).toEqual(parts)
})

it.each(steps.map((step) => [`${step.heading}: ${step.commands.split('\n')[0]}`, step] as const))(
  'the step works: %s',
  async (_, step) => {
    const output = await shell.run(here(step), deadlineMs)
    expect(missingLine(step.prints, output), output).toBeUndefined()
  },
)

it('the last step works for a reader whose Nix remembers signatures of an earlier Hydra', async () => {
  const [step] = steps.slice(-1)
  if (step === undefined) throw new Error('the walkthrough has no last step')
  await shell.run('chmod -R u+w store && rm -r store', deadlineMs)
  await standIns.nix.nix('nix-store', ['--generate-binary-cache-key', 'ci-2', secret, `${secret}.pub`])
  const output = await shell.run(here(step), deadlineMs)
  expect(missingLine(step.prints, output), output).toBeUndefined()
})

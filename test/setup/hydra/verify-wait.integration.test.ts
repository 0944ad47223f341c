import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { hydraTask, type VerifyPace, verifyHydra } from '../../../src/setup/hydra/task.js'
import { LocalShellHost } from '../../fakes/local-shell-host.js'
import { taskMachine, taskRun } from '../../fakes/task-run.js'
import { freePort } from '../../fixtures/free-port.js'

/** The root of a Hydra machine, whose journal gets another part of the test's text at each look. */
let root: string
let host: LocalShellHost
let server: Server
let run: ReturnType<typeof taskRun>

const program = (path: string, body: string) =>
  writeFileSync(join(root, path), `#!/bin/sh\n${body}\n`, { mode: 0o755 })

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'ho-verify-'))
  for (const folder of ['bin', 'journal', 'package/bin', 'hydra'])
    mkdirSync(join(root, folder), { recursive: true })
  for (const name of ['init', 'server', 'evaluator', 'queue-runner', 'create-user'])
    program(`package/bin/hydra-${name}`, 'exit 1')
  program('bin/runuser', 'exit 1')
  program('bin/pg_lsclusters', 'echo 15 main 5432 online postgres /nowhere /nowhere')
  program(
    'bin/systemctl',
    `case $* in *Id,ActiveState*) printf 'Id=hydra-evaluator.service\\nActiveState=activating\\nSubState=auto-restart\\nNRestarts=9\\n' ;; esac`,
  )
  server = createServer((_, response) => response.writeHead(200).end())
  host = new LocalShellHost({ bin: join(root, 'bin'), moved: { '/var/lib/hydra': join(root, 'hydra') } })
  run = taskRun()
})
afterEach(() => {
  server.close()
  rmSync(root, { recursive: true, force: true })
})

/** Sets the journal of one unit, look by look; the other units have an empty journal. */
function journalOf(unit: string, ...looks: readonly string[]): void {
  for (const [index, text] of looks.entries()) writeFileSync(join(root, 'journal', `${index}`), `${text}\n`)
  program(
    'bin/journalctl',
    `cd '${root}/journal'
case $* in *--unit=${unit}*) ;; *) exit 0 ;; esac
case $* in
  *--show-cursor*) next=$(ls | grep '^[0-9]' | head -n 1); [ -n "$next" ] || exit 1 # as journalctl 252 ends without a new line
    cat "$next"; mv "$next" "seen-$next"
    echo "-- cursor: s=$next" ;;
  *) cat seen-* 2>/dev/null ;;
esac`,
  )
}

const listening = async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

const pace: VerifyPace = { pauseMs: 1, everyMs: 0, apartMs: 0 }

async function verify(port: number, patience = pace): Promise<void> {
  const wanted = hydraTask.wanted(
    taskMachine({ hydra: { enable: true, package: `/nix/store/${'0'.repeat(32)}-hydra`, port } }),
  )
  if (wanted === undefined) throw new Error('no Hydra is wanted')
  const options = { ...wanted.options, package: join(root, 'package') }
  await verifyHydra(host, { ...wanted, options }, run, patience)
}

const journalCalls = () => host.seen.map(({ argv }) => argv).filter(([program]) => program === 'journalctl')
const looks = () => host.seen.filter(({ argv }) => argv.includes('--show-cursor')).length

const noDatabase =
  'DBI connect failed: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: fe_sendauth: no password supplied'
const noFolder =
  'hydra-server.service: Failed at step NAMESPACE spawning /nix/store/x/bin/hydra-server: No such file or directory'
const starting =
  'connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: FATAL:  the database system is starting up'

describe('the wait for the first answer of hydra-server', () => {
  it.each<[string, string, string, RegExp]>([
    ['is not let into the database', 'hydra-server', noDatabase, /a service cannot log in to the database/],
    [
      'lacks a folder',
      'hydra-server',
      noFolder,
      /a unit cannot start, because a folder of its ReadWritePaths does not exist/,
    ],
    ['waits for hydra-init in vain', 'hydra-init', noDatabase, /a service cannot log in to the database/],
  ])('ends early when it %s', async (_, unit, words, cause) => {
    journalOf(unit, words, '', words)
    await expect(verify(await freePort())).rejects.toMatchObject({
      code: 'LASTING_CAUSE',
      message: expect.stringMatching(
        new RegExp(
          `^machine 'local': waited \\d+ s until Hydra's web server answers on port \\d+: connect ECONNREFUSED .*; ${cause.source}`,
        ),
      ),
      hint: expect.stringContaining('journalctl -u hydra-server'),
      detail: expect.stringContaining(words),
    })
  })

  it.each<[string, readonly string[], VerifyPace]>([
    ['came once', [noDatabase, '', ''], pace],
    ['is told twice of one failure', [noDatabase, noDatabase, ''], { ...pace, apartMs: 3_600_000 }],
    ['is a database that starts', [starting, starting, starting], pace],
    ['is another one each time', [noDatabase, noFolder, ''], pace],
  ])('goes on when a cause %s', async (_, said, patience) => {
    journalOf('hydra-server', ...said)
    const port = await freePort()
    rmSync(join(root, 'package'), { recursive: true })
    const verified = expect(verify(port, patience)).rejects.toThrow('is not a complete package of Hydra')
    await vi.waitFor(() => expect(looks()).toBeGreaterThan(2), { timeout: 30_000 })
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    await verified
    expect(run.lines.filter((line) => line.includes('journal'))).toEqual([])
  })
})

describe("the wait for all of Hydra's services", () => {
  it('ends early when the journal of one names the same cause again, which is read by one watch and once as evidence', async () => {
    journalOf('hydra-evaluator', noDatabase, noDatabase)
    await expect(verify(await listening())).rejects.toMatchObject({
      code: 'LASTING_CAUSE',
      message: expect.stringMatching(
        /until all of Hydra's services work: hydra-evaluator\.service is activating \(auto-restart\); .*; a service cannot log in to the database$/,
      ),
    })
    const others = journalCalls().filter((argv) => !argv.includes('--show-cursor'))
    expect(others).toEqual([expect.arrayContaining(['--lines=20', expect.stringMatching(/^--since=@\d+$/)])])
  })

  it('goes on when only builds fail on a builder', async () => {
    const fails =
      'possibly transient failure building ‘/nix/store/x.drv’ on ‘b1’: error: unexpected end-of-file'
    journalOf('hydra-queue-runner', fails, fails, fails, noDatabase, noDatabase)
    await expect(verify(await listening())).rejects.toThrow('a service cannot log in to the database')
    expect(run.lines.join('\n')).not.toMatch(/builder|trust/)
  })
})

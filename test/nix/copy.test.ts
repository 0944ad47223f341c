import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, describe, expect, it } from 'vitest'
import { createCopier, methodOf } from '../../nix/copy.js'
import { copyProgress } from '../../nix/copy-progress.js'
import type { NixCommand, NixCommandOptions } from '../../nix/nix-command.js'
import type { LocalCommands } from '../../src/core/context.js'
import { StorePath } from '../../src/core/names.js'
import type { CommandResult, Host } from '../../src/core/ssh.js'
import { exit, succeed } from '../fakes/fake-ssh.js'
import { connectFake, recordingRun } from '../fakes/fake-target.js'

const folder = mkdtempSync(join(tmpdir(), 'ho copy '))
afterAll(() => rmSync(folder, { recursive: true }))

const path = (letter: string) => StorePath.parse(`/nix/store/${letter.repeat(32)}-${letter}`)
const [a, b, c] = [path('a'), path('b'), path('c')]
const flush = 'write the closure to the disk'
const look = 'look for paths in the store of the machine'

interface LocalAnswers {
  readonly copy?: CommandResult
  /** The output of the export, and its exit code. */
  readonly exported?: string
  readonly exportEnds?: CommandResult
}

interface LocalCall {
  readonly argv: readonly string[]
  readonly options?: NixCommandOptions
}

/** Creates a copier on a made-up operator host; `calls` records the commands. */
function copierWith(answers: LocalAnswers = {}) {
  const calls: LocalCall[] = []
  const command: NixCommand = {
    store: async () => ({
      kind: 'given',
      remote: '/made-up',
      why: 'a test',
      realStoreDir: '/made-up/nix/store',
      buildsHere: false,
      chroot: true,
    }),
    run: async (tool, args, options) => {
      calls.push({ argv: [tool, ...args], options })
      const result = answers.copy ?? succeed()
      for (const line of result.stderr.split('\n')) options.onLine?.(line)
      return result
    },
  }
  const spawnReadable: LocalCommands['spawnReadable'] = (argv) => {
    calls.push({ argv })
    return {
      stdout: Readable.from([Buffer.from(answers.exported ?? 'bytes')]),
      done: Promise.resolve(answers.exportEnds ?? succeed()),
    }
  }
  const queries = {
    invalid: async () => [],
    outputs: async () => [],
    folderOf: async () => undefined,
    requisites: async () => [a, b, c],
    closure: async () => ({ paths: [a, b, c], sizes: new Map() }),
  }
  const copier = createCopier({ command, queries, spawnReadable, env: {} })
  return { calls, copier }
}

const options = { sshConfig: '/state/ssh_config', substitute: false }

async function target(
  escalation: Host['escalation'] = 'root',
  more: { privilegeEscalation?: string[] } = {},
) {
  const made = await connectFake(escalation, more)
  made.ssh.answer('prepare the copy', succeed('/usr/bin/nix-store\n'))
  made.ssh.answer(flush, succeed())
  made.ssh.answer(look, succeed(`${c}\n${a}\n`))
  return made
}

describe('the method of a copy', () => {
  const host = async (escalation: Host['escalation'], noisyShell = false, privilegeEscalation?: string[]) => {
    const made = await connectFake(
      escalation,
      privilegeEscalation === undefined ? {} : { privilegeEscalation },
    )
    return { ...made.host, noisyShell }
  }

  it('is nix-copy-closure for root and for a sudo that asks nothing', async () => {
    expect(methodOf(await host('root'))).toEqual({ kind: 'ssh', prefix: [], description: 'nix-copy-closure' })
    expect(methodOf(await host('sudo'))).toMatchObject({ kind: 'ssh', prefix: ['sudo', '-n'] })
    expect(methodOf(await host('sudo', false, ['/opt/bin/sudo', '-H']))).toMatchObject({
      prefix: ['/opt/bin/sudo', '-n'],
    })
  })

  it('is a stream when a shell is noisy, a password is needed, or the program is not sudo', async () => {
    for (const each of [
      await host('root', true),
      await host('sudo', true),
      await host('sudo-password'),
      await host('sudo', false, ['doas']),
    ]) {
      expect(methodOf(each).kind).toBe('stream')
    }
  })
})

describe('a copy with nix-copy-closure', () => {
  it('makes a root first, copies with the generated configuration, and syncs', async () => {
    const { host, ssh } = await target()
    const { calls, copier } = copierWith()
    await copier.copy(host, c, options, recordingRun())
    expect(calls.map(({ argv }) => argv)).toEqual([
      ['nix-copy-closure', '--to', 'web?remote-program=%2Fusr%2Fbin%2Fnix-store', c],
    ])
    expect(calls[0]?.options?.extraEnv).toEqual({ NIX_SSHOPTS: '-F /state/ssh_config' })
    expect(ssh.execs.map(({ what, argv }) => [what, argv])).toEqual([
      ['prepare the copy', [c]],
      [flush, ['sync']],
    ])
  })

  it('goes through sudo, and substitutes when asked', async () => {
    const { host } = await target('sudo')
    const { calls, copier } = copierWith()
    await copier.copy(host, c, { ...options, substitute: true }, recordingRun())
    expect(calls[0]?.argv).toEqual([
      ...['nix-copy-closure', '--to', '--use-substitutes'],
      ...['web?remote-program=sudo%20-n%20%2Fusr%2Fbin%2Fnix-store', c],
    ])
  })

  it('reaches a configuration with spaces in its path through a temporary link without spaces', async () => {
    const sshConfig = join(folder, 'a folder', 'ssh_config')
    mkdirSync(join(folder, 'a folder'))
    writeFileSync(sshConfig, 'the configuration')
    const { host } = await target()
    const { calls, copier } = copierWith()
    await copier.copy(host, c, { ...options, sshConfig }, recordingRun())
    const given = calls[0]?.options?.extraEnv?.NIX_SSHOPTS?.replace('-F ', '') ?? ''
    expect(given).not.toMatch(/\s/)
    expect(() => readFileSync(given)).toThrow('ENOENT')
  })

  it('reports its progress, and passes on all other messages', async () => {
    const { host } = await target()
    const said = `copying 2 paths...\ncopying path '${a}' to 'ssh://web'...\nwarning: odd\ncopying path '${b}' to 'ssh://web'...`
    const { copier } = copierWith({ copy: { ...succeed(), stderr: said } })
    const run = recordingRun()
    await copier.copy(host, c, options, run)
    expect(run.lines).toEqual(['1 of 2 paths', 'warning: odd', '2 of 2 paths'])
  })

  it('fails with the last words of Nix, and a remedy', async () => {
    const { host, ssh } = await target()
    const unsigned = `error: cannot add path '${a}' because it lacks a valid signature`
    const failed = copierWith({ copy: exit(1, unsigned) }).copier.copy(host, c, options, recordingRun())
    await expect(failed).rejects.toMatchObject({
      code: 'COPY',
      machine: 'web',
      message: "machine 'web': cannot copy the closure: the command ended with status 1",
      detail: unsigned,
      hint: expect.stringContaining('does not trust the login user'),
    })
    expect(ssh.execs.map(({ what }) => what)).not.toContain(flush)
    const full = copierWith({ copy: exit(1, 'error: writing to file: No space left on device') }).copier
    await expect(full.copy(host, c, options, recordingRun())).rejects.toMatchObject({
      hint: expect.stringContaining('disk of the machine is full'),
    })
  })

  it('reports a missing Nix on the machine', async () => {
    const { host, ssh } = await target()
    ssh.answer('prepare the copy', exit(127))
    await expect(copierWith().copier.copy(host, c, options, recordingRun())).rejects.toMatchObject({
      code: 'NO_NIX',
    })
  })
})

describe('a copy as a stream', () => {
  it('exports the missing paths, dependencies first, into an import there', async () => {
    const { host, ssh } = await target('sudo-password')
    ssh.answer('copy the closure', succeed())
    const { calls, copier } = copierWith({ exported: 'the export' })
    const run = recordingRun()
    await copier.copy(host, c, options, run)
    expect(calls.map(({ argv }) => argv)).toEqual([['nix-store', '--export', a, c]])
    const imported = ssh.execs.find(({ what }) => what === 'copy the closure')
    expect(imported).toMatchObject({ argv: ['/usr/bin/nix-store', '--import'], stdin: 'the export' })
    expect(run.lines).toEqual(['0.0 MiB of 2 paths'])
    expect(ssh.execs.at(-1)?.what).toBe(flush)
  })

  it('sends nothing when nothing is missing', async () => {
    const { host, ssh } = await target('sudo-password')
    ssh.answer(look, succeed())
    const { calls, copier } = copierWith()
    await copier.copy(host, c, options, recordingRun())
    expect(calls).toEqual([])
  })

  it('names the end that failed by itself', async () => {
    const { host, ssh } = await target('sudo-password')
    ssh.answer('copy the closure', exit(1, 'error: unexpected end-of-file'))
    const copying = (answers: LocalAnswers) =>
      copierWith(answers).copier.copy(host, c, options, recordingRun())
    await expect(copying({ exportEnds: exit(1, 'error: path is not valid') })).rejects.toMatchObject({
      message: "machine 'web': cannot copy the closure: the export failed: the command ended with status 1",
      detail: 'error: path is not valid',
    })
    const stopped: CommandResult = { kind: 'killed', signal: 'SIGTERM', stdout: '', stderr: '' }
    await expect(copying({ exportEnds: stopped })).rejects.toMatchObject({
      message: "machine 'web': cannot copy the closure: the import failed: the command ended with status 1",
      detail: 'error: unexpected end-of-file',
    })
  })

  it('tells a lost connection from a failure', async () => {
    const { host, ssh } = await target('sudo-password')
    ssh.answer('copy the closure', { kind: 'lost', stdout: '', stderr: '' })
    await expect(copierWith().copier.copy(host, c, options, recordingRun())).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    })
  })
})

describe('the list of missing paths', () => {
  it('is requested in one command, and returned in the order of the request', async () => {
    const { host, ssh } = await target()
    expect(await copierWith().copier.missingOn(host, [a, b, c], recordingRun())).toEqual([a, c])
    expect(ssh.execs).toHaveLength(1)
    expect(ssh.execs[0]?.stdin).toBe(`${a}\n${b}\n${c}\n`)
  })

  it('is never empty because the request failed', async () => {
    const { host, ssh } = await target()
    ssh.answer(look, exit(123, 'error: cannot open the database'))
    await expect(copierWith().copier.missingOn(host, [a], recordingRun())).rejects.toMatchObject({
      detail: 'error: cannot open the database',
    })
    ssh.answer(look, { kind: 'lost', stdout: `${a}\n`, stderr: '' })
    await expect(copierWith().copier.missingOn(host, [a], recordingRun())).rejects.toMatchObject({
      code: 'CONNECTION_LOST',
    })
  })
})

describe('a repair of the store', () => {
  it('does nothing more when all paths are valid', async () => {
    const { host, ssh } = await target()
    ssh.answer('verify the closure', succeed())
    const { calls, copier } = copierWith()
    expect(await copier.repair(host, c, options, recordingRun())).toEqual([])
    expect(ssh.execs.map(({ what }) => what)).toEqual(['verify the closure'])
    expect(calls).toEqual([])
  })

  it('removes broken paths, copies them again, and reports the mended paths', async () => {
    const { host, ssh } = await target()
    ssh.answer('verify the closure', succeed(`${b}\n`))
    ssh.answer('remove broken paths', succeed())
    const { calls, copier } = copierWith()
    expect(await copier.repair(host, c, options, recordingRun())).toEqual([b])
    expect(ssh.execs.map(({ what }) => what)).toEqual([
      ...['verify the closure', 'remove broken paths', 'prepare the copy', flush],
    ])
    expect(calls).toHaveLength(1)
  })

  it('removes the broken paths of an unwanted closure, and copies nothing', async () => {
    const { host, ssh } = await target()
    ssh.answer('verify the closure', succeed(`${b}\n`))
    ssh.answer('remove broken paths', succeed())
    const { calls, copier } = copierWith()
    expect(await copier.removeBroken(host, c, recordingRun())).toEqual([b])
    expect(ssh.execs.map(({ what }) => what)).toEqual(['verify the closure', 'remove broken paths'])
    expect(calls).toEqual([])
  })

  it('copies nothing when a broken path cannot be removed', async () => {
    const { host, ssh } = await target()
    ssh.answer('verify the closure', succeed(`${b}\n`))
    ssh.answer('remove broken paths', exit(1, 'error: cannot delete'))
    const { calls, copier } = copierWith()
    await expect(copier.repair(host, c, options, recordingRun())).rejects.toMatchObject({
      detail: 'error: cannot delete',
    })
    expect(calls).toEqual([])
  })
})

it('a copy reports progress at most once a second, and always its last step', () => {
  let now = 0
  const run = recordingRun()
  const progress = copyProgress(run, 4, () => now)
  progress.line('copying 4 paths...')
  for (const at of [0, 300, 1_100, 1_200]) {
    now = at
    progress.line(`copying path '${a}' to 'ssh://web'...`)
  }
  expect(run.lines).toEqual(['1 of 4 paths', '3 of 4 paths', '4 of 4 paths'])
})

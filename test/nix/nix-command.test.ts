import { describe, expect, it } from 'vitest'
import { createNixCommand, expectSuccess, flagArguments, howItEnded } from '../../nix/nix-command.js'
import { type NixStore, storeEnvironment } from '../../nix/nix-store-choice.js'
import type { LocalCommands } from '../../src/core/context.js'
import { OpsError } from '../../src/core/errors.js'
import type { CommandResult } from '../../src/core/ssh.js'

type Call = { readonly argv: readonly string[]; readonly env: Readonly<Record<string, string>> | undefined }

/** Creates local commands with only `run`. */
function recording(calls: Call[]): Pick<LocalCommands, 'run'> {
  return {
    run: async (argv, { env }) => {
      calls.push({ argv, env })
      return { kind: 'exited', code: 0, stdout: '', stderr: '' }
    },
  }
}

const options = { signal: new AbortController().signal, timeoutMs: 1000, what: 'try' }

describe('a program of Nix', () => {
  it("runs with the store's environment, and with the additions of a call", async () => {
    const calls: Call[] = []
    const command = createNixCommand({
      local: recording(calls),
      stateRoot: '/state',
      env: { NIX_REMOTE: 'dummy://', NIX_CONFIG: 'cores = 3' },
    })
    await command.run('nix-store', ['--version'], { ...options, extraEnv: { NIX_SSHOPTS: '-F x' } })
    expect(calls).toEqual([
      {
        argv: ['nix-store', '--version'],
        env: { NIX_REMOTE: 'dummy://', NIX_CONFIG: 'cores = 3', NIX_SSHOPTS: '-F x' },
      },
    ])
  })

  it('logs in to builders by the given configuration of ssh, whose path has no space for Nix', async () => {
    const calls: Call[] = []
    const command = createNixCommand({
      local: recording(calls),
      stateRoot: '/state',
      env: { NIX_REMOTE: 'dummy://' },
    })
    const flags = { showTrace: false, options: [] }
    await command.run('nix-store', [], { ...options, flags: { ...flags, sshConfig: '/state/config' } })
    await command.run('nix-store', [], { ...options, flags: { ...flags, sshConfig: '/a state/config' } })
    await command.run('nix-store', [], { ...options, flags })
    expect(calls.map(({ env }) => env?.NIX_SSHOPTS)).toEqual([
      '-F /state/config',
      expect.stringMatching(/^-F \S+$/),
      undefined,
    ])
  })

  it('gets the flags of the user', () => {
    expect(flagArguments({ showTrace: false, options: [] })).toEqual([])
    expect(
      flagArguments({
        showTrace: true,
        options: [['substituters', '']],
        maxJobs: '2',
        cores: '4',
        builders: '',
        keepFailed: true,
        keepGoing: true,
        fallback: true,
      }),
    ).toEqual([
      ...['--option', 'substituters', '', '--max-jobs', '2', '--cores', '4', '--builders', ''],
      ...['--keep-failed', '--keep-going', '--fallback', '--show-trace'],
    ])
  })
})

describe('the end of a program of Nix', () => {
  const output = { stdout: 'out', stderr: 'a\nb' }

  it('counts as success with status 0 only', () => {
    expect(expectSuccess({ kind: 'exited', code: 0, ...output }, 'try')).toBe('out')
    const others: CommandResult[] = [
      { kind: 'exited', code: 1, ...output },
      { kind: 'killed', signal: 'SIGTERM', ...output },
      { kind: 'lost', ...output },
    ]
    for (const result of others) expect(() => expectSuccess(result, 'try')).toThrow(OpsError)
  })

  it('reveals a lack of memory, also when a shell stands between', () => {
    expect(howItEnded({ kind: 'killed', signal: 'SIGKILL', ...output })).toContain('ran out of memory')
    expect(howItEnded({ kind: 'exited', code: 137, ...output })).toContain('ran out of memory')
    expect(howItEnded({ kind: 'killed', signal: 'SIGTERM', ...output })).not.toContain('memory')
  })
})

describe('the environment of a store', () => {
  const own: NixStore = {
    kind: 'own',
    remote: '/state/nix',
    why: '',
    realStoreDir: '/state/nix/nix/store',
    buildsHere: true,
    chroot: true,
  }
  const daemon: NixStore = { ...own, kind: 'daemon', remote: 'daemon', buildsHere: false, chroot: false }

  it('gives /bin/sh to sandboxed builds in our own store, and lets the user have the last word', () => {
    const { NIX_CONFIG, NIX_REMOTE } = storeEnvironment(own, { NIX_CONFIG: 'sandbox-paths = /x' }, false)
    expect(NIX_REMOTE).toBe('/state/nix')
    expect(NIX_CONFIG).toMatch(/^sandbox-paths = \/bin \/usr.*\nsandbox-paths = \/x$/)
  })

  it("leaves a daemon's settings to the daemon", () => {
    expect(storeEnvironment(daemon, {}, true)).toEqual({ NIX_REMOTE: 'daemon', NIX_CONFIG: '' })
  })
})

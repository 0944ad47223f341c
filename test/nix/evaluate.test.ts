import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { createEvaluator } from '../../nix/evaluate.js'
import { evaluationText } from '../../nix/evaluation-input.js'
import type { NixCommand, NixCommandOptions } from '../../nix/nix-command.js'
import type { EvaluationRequest } from '../../src/core/nix.js'
import type { CommandResult } from '../../src/core/ssh.js'

type Call = { readonly args: readonly string[]; readonly options: NixCommandOptions }

let folder: string
let calls: Call[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-unit-'))
  writeFileSync(join(folder, 'hydra.nix'), '{ }')
  calls = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const nothing = {
  network: { name: null, description: null, ordering: [], unknown: [], known: [], resources: [] },
  machines: {},
}

/** Creates a Nix whose answers come from a function. */
function fakeNix(answer: (call: Call) => CommandResult): NixCommand {
  return {
    run: async (_, args, options) => {
      calls.push({ args, options })
      return answer({ args, options })
    },
    store: async () => ({
      kind: 'given',
      remote: 'daemon',
      why: '',
      realStoreDir: '/nix/store',
      buildsHere: false,
      chroot: false,
    }),
  }
}

function evaluate(result: CommandResult, wanted: Partial<EvaluationRequest> = {}) {
  const evaluator = createEvaluator({ command: fakeNix(() => result), providers: [], cwd: folder })
  return evaluator(
    {
      files: [join(folder, 'hydra.nix')],
      searchPath: [],
      args: {},
      deployment: { uuid: 'u', name: 'lab' },
      physical: {},
      mode: 'read',
      flags: { showTrace: false, options: [] },
      ...wanted,
    },
    { signal: new AbortController().signal, log: () => {} },
  )
}

const ended = (code: number, stdout: string, stderr = ''): CommandResult => ({
  kind: 'exited',
  code,
  stdout,
  stderr,
})

it('function arguments are on no command line and in no environment', async () => {
  await evaluate(ended(0, JSON.stringify(nothing)), { args: { token: '"hush"' }, searchPath: ['nixpkgs=/x'] })
  const [call] = calls
  expect(call?.options.stdin).toContain('hush')
  expect(JSON.stringify([call?.args, call?.options.extraEnv])).not.toContain('hush')
  expect(call?.args).toContain('nixpkgs=/x')
})

it('output of Nix counts only with exit status 0', async () => {
  await expect(
    evaluate(ended(1, JSON.stringify(nothing), "error: undefined variable 'x'")),
  ).rejects.toMatchObject({
    exitCode: 2,
    message: "hydra.nix: undefined variable 'x'",
  })
})

it('a killed Nix is reported as a lack of memory', async () => {
  const killed: CommandResult = { kind: 'killed', signal: 'SIGKILL', stdout: '', stderr: '' }
  for (const result of [killed, ended(137, '')]) {
    await expect(evaluate(result)).rejects.toMatchObject({
      exitCode: 1,
      message: expect.stringContaining('ran out of memory'),
    })
  }
})

it('an evaluation has ten minutes, and names what it waits for', async () => {
  await evaluate(ended(0, JSON.stringify(nothing)))
  expect(calls[0]?.options).toMatchObject({ timeoutMs: 600_000, what: 'evaluate the network expression' })
})

it('a plan asks Nix to write nothing', async () => {
  await evaluate(ended(0, JSON.stringify(nothing)))
  expect(calls.map(({ args }) => args.includes('--readonly-mode'))).toEqual([true])
})

it('an evaluation refuses a deployment without an expression', async () => {
  await expect(evaluate(ended(0, ''), { files: [] })).rejects.toMatchObject({ exitCode: 2 })
  expect(calls).toEqual([])
})

it('the lines of each argument are known, so that an error in an argument is attributed to it', () => {
  const { text, arguments: places } = evaluationText(
    {
      files: [],
      physical: {},
      deployment: { uuid: 'u', name: 'n' },
      mode: 'read',
      only: null,
      exclude: [],
      optionKeys: [],
      providerModules: [],
      refused: [],
    },
    { first: '1', second: '2\n+\n3' },
  )
  const lines = text.split('\n')
  expect(places.map(({ name, from, to }) => [name, lines.slice(from - 1, to)])).toEqual([
    ['first', ['"first" = (', '1', ');']],
    ['second', ['"second" = (', '2', '+', '3', ');']],
  ])
})

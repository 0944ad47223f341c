import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createEvaluator } from '../../nix/evaluate.js'
import { evaluationText } from '../../nix/evaluation-input.js'
import { availableMemory } from '../../nix/evaluation-memory.js'
import type { NixCommand, NixCommandOptions } from '../../nix/nix-command.js'
import { jsonSchema } from '../../src/core/json.js'
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
      batch: null,
    },
    { first: '1', second: '2\n+\n3' },
  )
  const lines = text.split('\n')
  expect(places.map(({ name, from, to }) => [name, lines.slice(from - 1, to)])).toEqual([
    ['first', ['"first" = (', '1', ');']],
    ['second', ['"second" = (', '2', '+', '3', ');']],
  ])
})

describe('NixOS machines that do not fit into the memory together', () => {
  const gibibyte = 1024 ** 3
  const names = Array.from({ length: 10 }, (_, index) => `m${index}`)
  const machine = {
    os: 'nixos',
    files: [],
    deployment: {},
    origins: [],
    refused: [],
    warnings: [],
    assertions: [],
    hydra: null,
    traps: [],
    closure: null,
  }
  let batches: string[][]
  let logged: string[]
  beforeEach(() => {
    batches = []
    logged = []
  })

  /** Returns a Nix that evaluates each batch and reports its memory. A batch of more than `most` machines kills Nix. */
  function nixFor(most: number, need = gibibyte): NixCommand {
    return fakeNix(({ options }) => {
      const text = /builtins\.fromJSON "(.*)";$/m.exec(String(options.stdin))?.[1] ?? ''
      const { batch } = Input.parse(JSON.parse(JSON.parse(`"${text.replaceAll('\\${', '${')}"`)))
      const here = 'names' in batch ? batch.names : names.slice(0, batch.first)
      batches.push(here)
      if (here.length > most) return { kind: 'killed', signal: 'SIGKILL', stdout: '', stderr: '' }
      expect(options.extraEnv).toMatchObject({ NIX_SHOW_STATS: '1', NIX_SHOW_STATS_PATH: '-' })
      const gc = { heapSize: here.length * need, totalBytes: Number.MAX_SAFE_INTEGER }
      const told = `warning: a line before\n${JSON.stringify({ list: { bytes: 1 }, gc }, null, 2)}\n`
      const later = 'names' in batch ? [] : names.slice(batch.first)
      const machines = Object.fromEntries(here.map((name) => [name, machine]))
      return ended(0, JSON.stringify({ ...nothing, machines, later }), told)
    })
  }
  const Input = z.object({
    batch: z.union([z.object({ first: z.number() }), z.object({ names: z.array(z.string()) })]),
  })

  const evaluateWith = (command: NixCommand, available: number) =>
    createEvaluator({
      command,
      providers: [{ name: 'ssh', targetEnvs: ['none'], optionKey: undefined, configSchema: jsonSchema }],
      cwd: folder,
      available: () => available,
    })(
      {
        files: [join(folder, 'hydra.nix')],
        searchPath: [],
        args: {},
        deployment: { uuid: 'u', name: 'lab' },
        physical: {},
        mode: 'read',
        flags: { showTrace: false, options: [] },
      },
      { signal: new AbortController().signal, log: (line) => logged.push(line) },
    )
  const sizes = () => batches.map((batch) => batch.length)

  it('have one evaluation where the memory is enough', async () => {
    const network = await evaluateWith(nixFor(10), 100 * gibibyte)
    expect([...network.machines.keys()]).toEqual(names)
    expect(sizes()).toEqual([10])
  })

  it('have several evaluations, sized by the memory that the last one took', async () => {
    const network = await evaluateWith(nixFor(10, gibibyte / 2), 4 * gibibyte)
    expect([...network.machines.keys()]).toEqual(names)
    expect(sizes()).toEqual([2, 5, 3])
    expect(logged).toEqual([])
  })

  it('have smaller evaluations after one that was killed, and the log says so', async () => {
    const network = await evaluateWith(nixFor(3, 1), 12 * gibibyte)
    expect([...network.machines.keys()].sort()).toEqual(names)
    expect(sizes()).toEqual([8, 0, 4, 2, 2, 2, 2, 2])
    expect(logged[0]).toMatch(
      /killed \(signal 9\).*ran out of memory: the evaluation is tried again with at most 4/,
    )
    expect(logged).toHaveLength(2)
  })

  it('are named where one alone is too much', async () => {
    await expect(evaluateWith(nixFor(0), 4 * gibibyte)).rejects.toMatchObject({
      message: expect.stringMatching(
        /^machine 'm0': cannot evaluate the network expression: .*out of memory$/,
      ),
      code: 'NIX_KILLED',
    })
    expect(sizes()).toEqual([2, 0, 1])
  })
})

it('the memory that programs can have is read where the kernel reports it', () => {
  writeFileSync(join(folder, 'meminfo'), 'MemTotal:  100 kB\nMemFree:  1 kB\nMemAvailable:    64 kB\n')
  expect(availableMemory(join(folder, 'meminfo'))).toBe(65_536)
  expect(availableMemory(join(folder, 'absent'))).toBeGreaterThan(0)
})

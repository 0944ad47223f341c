import { lstatSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import { createEvaluator } from '../../nix/evaluate.js'
import { createNixCommand, type NixCommand } from '../../nix/nix-command.js'
import type { KnownProvider } from '../../nix/provider-part.js'
import { removeStore } from '../../nix/temporary-store.js'
import { LibvirtConfig } from '../../providers/libvirt/config.js'
import { VirtualBoxConfig } from '../../providers/virtualbox/config.js'
import type { NetworkDefinition } from '../../src/core/definition.js'
import { OpsError } from '../../src/core/errors.js'
import { type Json, jsonSchema } from '../../src/core/json.js'
import { MachineName } from '../../src/core/names.js'
import type { EvaluationRequest } from '../../src/core/nix.js'
import { packageRoot } from '../../src/core/package-root.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { setupTasks } from '../../src/setup/tasks.js'

/** The options of a made-up provider, with all types that tests need. */
const LibvirtLikeOptions: z.ZodType<Json> = z
  .strictObject({
    memorySize: z.number().int().optional(),
    vcpu: z.number().int().optional(),
    baseImage: z.string().optional(),
    networks: z.array(z.string()).optional(),
  })
  .transform((options) => jsonSchema.parse(options))

export const testProviders: readonly KnownProvider[] = [
  {
    name: 'libvirt',
    targetEnvs: ['libvirtd', 'libvirt'],
    optionKey: 'libvirtd',
    configSchema: LibvirtLikeOptions,
  },
  { name: 'ssh', targetEnvs: ['none', 'ssh'], optionKey: undefined, configSchema: jsonSchema },
]

type Wanted = Partial<Omit<EvaluationRequest, 'files' | 'only'>> & { readonly only?: readonly string[] }

/** A folder with network expressions and a separate chroot store, evaluated by the real Nix. */
export interface NixSandbox {
  readonly folder: string
  /** The folder with the store's files; absent before the first write. */
  readonly storeFolder: string
  readonly command: NixCommand
  /** The Nix programs that were started. */
  readonly started: readonly string[]
  /** The lines of the run's log. */
  readonly logged: string[]
  write(name: string, text: string): string
  evaluate(files: string | readonly string[], wanted?: Wanted): Promise<NetworkDefinition>
  /** Returns the error of an evaluation that must fail. */
  refusal(files: string | readonly string[], wanted?: Wanted): Promise<OpsError>
  dispose(): Promise<void>
}

/** The built-in providers, with their NixOS modules. */
export const builtInProviders: readonly KnownProvider[] = [
  {
    name: 'libvirt',
    targetEnvs: ['libvirtd', 'libvirt'],
    optionKey: 'libvirtd',
    configSchema: LibvirtConfig.transform((options) => jsonSchema.parse(options)),
    optionsNix: join(packageRoot(), 'providers', 'libvirt', 'options.nix'),
  },
  {
    name: 'virtualbox',
    targetEnvs: ['virtualbox'],
    optionKey: 'virtualbox',
    configSchema: VirtualBoxConfig.transform((options) => jsonSchema.parse(options)),
    optionsNix: join(packageRoot(), 'providers', 'virtualbox', 'options.nix'),
  },
  { name: 'ssh', targetEnvs: ['none', 'ssh'], optionKey: undefined, configSchema: jsonSchema },
]

/** The stand-ins for nixpkgs: a current release, and a release of 2017. */
export const fixtureNixpkgs = join(packageRoot(), 'test', 'fixtures', 'nixpkgs')
export const oldNixpkgs = join(packageRoot(), 'test', 'fixtures', 'nixpkgs-17.03')

export function createNixSandbox(
  config = '',
  providers = testProviders,
  available?: () => number,
): NixSandbox {
  const folder = mkdtempSync(join(tmpdir(), 'hydra-ops-eval-'))
  const store = join(folder, 'state', 'nix')
  const started: string[] = []
  const logged: string[] = []
  const command = createNixCommand({
    local: {
      ...localCommands,
      run: (argv, options) => {
        started.push(argv[0] ?? '')
        return localCommands.run(argv, options)
      },
    },
    stateRoot: join(folder, 'state'),
    env: { NIX_REMOTE: store, NIX_CONFIG: ['substituters =', config].join('\n') },
  })
  const networks = join(folder, 'networks')
  mkdirSync(networks)
  const evaluate = createEvaluator({
    command,
    providers,
    tasks: async () => setupTasks,
    ...(available === undefined ? {} : { available }),
    cwd: networks,
  })
  const sandbox: NixSandbox = {
    folder: networks,
    storeFolder: store,
    command,
    started,
    logged,
    write(name, text) {
      const path = join(networks, name)
      mkdirSync(dirname(path), { recursive: true })
      writeFileSync(path, text)
      return path
    },
    evaluate(files, { only, ...wanted } = {}) {
      const request: EvaluationRequest = {
        files: (typeof files === 'string' ? [files] : files).map((file) => join(networks, file)),
        searchPath: [],
        args: {},
        deployment: { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'lab' },
        physical: {},
        mode: 'read',
        flags: { showTrace: false, options: [] },
        ...(only === undefined ? {} : { only: only.map((name) => MachineName.parse(name)) }),
        ...wanted,
      }
      return evaluate(request, {
        signal: new AbortController().signal,
        log: (line) => logged.push(line),
      })
    },
    async refusal(files, wanted) {
      try {
        await sandbox.evaluate(files, wanted)
      } catch (error) {
        if (error instanceof OpsError) return error
        throw error
      }
      throw new Error('the evaluation was not refused')
    },
    async dispose() {
      await removeStore(folder)
    },
  }
  return sandbox
}

/** Lists every file below a folder with its size; a missing folder gives an empty list. */
export function listing(folder: string): string[] {
  try {
    return readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((path) => `${path} ${lstatSync(join(folder, path)).size}`)
      .sort()
  } catch {
    return []
  }
}

import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { storeEnvironment } from '../../nix/nix-store-choice.js'
import { removeStore } from '../../nix/temporary-store.js'
import { renderData, renderJobs, renderMachine } from '../../src/network/jobs/files.js'
import { ownFiles } from '../../src/network/jobs/own-files.js'
import { builtInProviders, fixtureNixpkgs } from './real-nix.js'

/** Runs git in a folder, for a user without any git configuration. */
export function git(folder: string, ...words: readonly string[]): string {
  const ended = spawnSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...words], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
  })
  if (ended.status !== 0) throw new Error(`git ${words.join(' ')}: ${ended.stderr}`)
  return ended.stdout
}

/** Turns a folder into a repository, and commits all its files. */
export function commitAll(folder: string): void {
  git(folder, 'init', '--quiet', '--initial-branch=main')
  git(folder, 'add', '--all')
  git(folder, 'commit', '--quiet', '--allow-empty', '--message=all')
}

export const deployment = { uuid: '8a4b1f2c-0000-4000-8000-000000000000', name: 'lab' }

/** Writes the files of `hydra jobs init` into a folder with these network files. */
export function writeJobs(
  folder: string,
  files: readonly string[],
  {
    machines = {},
    args = [],
  }: { readonly machines?: Record<string, object>; readonly args?: readonly string[] },
): void {
  const hydra = join(folder, 'hydra')
  const providers = builtInProviders.flatMap(({ name, optionKey, optionsNix }) =>
    optionsNix === undefined ? [] : [{ name, optionKey, optionsNix }],
  )
  const texts = new Map([
    [
      'default.nix',
      renderJobs(
        hydra,
        files.map((file) => join(folder, file)),
      ),
    ],
    ['machines.json', renderData({ deployment, system: 'x86_64-linux', arguments: args, machines })],
    ...['web', 'db'].map((name) => [`${name}.nix`, renderMachine(name)] as const),
    ...[...ownFiles(providers)].map(([path, text]) => [`hydra-ops/${path}`, text] as const),
  ])
  for (const [path, text] of texts) {
    mkdirSync(dirname(join(hydra, path)), { recursive: true })
    writeFileSync(join(hydra, path), text)
  }
}

/** The machine of a Hydra, with a separate store. */
export interface HydraHost {
  /** Returns the derivation path of a job from a restricted evaluation of the last commit. */
  drvPath(folder: string, job: string, options?: Evaluating): string
  /** Returns the error of a restricted evaluation that must fail. */
  refusal(folder: string, job: string, options?: Evaluating): string
  /** The environment of Nix programs on this machine. */
  readonly env: NodeJS.ProcessEnv
  /** Returns the path of the file with the content of a store path. */
  fileOf(path: string): string
  dispose(): Promise<void>
}

export interface Evaluating {
  readonly file?: string
  /** Additional inputs, as Nix expressions. */
  readonly inputs?: Readonly<Record<string, string>>
  /** Whether the jobset has the input nixpkgs; default: yes. */
  readonly nixpkgs?: boolean
}

export function hydraHost(packages = fixtureNixpkgs): HydraHost {
  const place = mkdtempSync(join(tmpdir(), 'ho-hydra-host-'))
  const remote = join(place, 'nix')
  const realStoreDir = join(remote, 'nix/store')
  const store = { kind: 'given', remote, why: '', realStoreDir, buildsHere: true, chroot: true } as const
  const env = { ...process.env, ...storeEnvironment(store, { NIX_CONFIG: 'substituters =' }) }
  // Hydra has nixpkgs at another path than the operator.
  const nixpkgs = join(place, 'source')
  cpSync(packages, nixpkgs, { recursive: true })
  const run = (words: readonly string[], input = '') =>
    spawnSync('nix-instantiate', [...words], { encoding: 'utf8', env, input })
  const fetched = (folder: string): string => {
    const clone = mkdtempSync(join(place, 'clone-'))
    git(place, 'clone', '--quiet', folder, clone)
    const ended = run(
      ['--eval', '--json', '--read-write-mode', '-'],
      `(builtins.fetchGit ${JSON.stringify(clone)}).outPath`,
    )
    if (ended.status !== 0) throw new Error(ended.stderr)
    return join(realStoreDir, basename(String(JSON.parse(ended.stdout))))
  }
  const evaluate = (
    folder: string,
    job: string,
    { file = 'default.nix', inputs = {}, ...options }: Evaluating,
  ) => {
    const search = { network: fetched(folder), ...(options.nixpkgs === false ? {} : { nixpkgs }) }
    const given = Object.entries({
      ...Object.fromEntries(Object.keys(search).map((name) => [name, `{ outPath = <${name}>; }`])),
      ...inputs,
    })
    return run([
      ...['--option', 'restrict-eval', 'true', `<network/hydra/${file}>`, '-A', job],
      ...Object.entries(search).flatMap(([name, path]) => ['-I', `${name}=${path}`]),
      ...given.flatMap(([name, value]) => ['--arg', name, value]),
    ])
  }
  return {
    drvPath(folder, job, options = {}) {
      const ended = evaluate(folder, job, options)
      if (ended.status !== 0) throw new Error(ended.stderr)
      return ended.stdout.trim()
    },
    refusal(folder, job, options = {}) {
      const ended = evaluate(folder, job, options)
      if (ended.status === 0) throw new Error(`the evaluation gave ${ended.stdout}`)
      return ended.stderr
    },
    env,
    fileOf: (path) => join(realStoreDir, basename(path)),
    dispose: () => removeStore(place),
  }
}

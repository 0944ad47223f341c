import { randomBytes } from 'node:crypto'
import { homedir, hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { createRegistry } from '../providers/registry.js'
import { createStateFolder } from '../state/paths.js'
import { createSecretFiles } from '../state/secrets.js'
import { createStore } from '../state/store.js'
import type { OpenRequest } from './commands/program.js'
import type { LocalCommands, Operator, Ops } from './core/context.js'
import type { ImageStore } from './core/image.js'
import type { Nix } from './core/nix.js'
import type { Ssh } from './core/ssh.js'
import { createRunLogs, runId } from './machine/run-logs.js'
import { commandLine } from './operations/command-line.js'
import { renderConfig } from './ssh/config-file.js'

/**
 * Builds everything that an operation works with. Only this function depends on the concrete parts. Expensive
 * imports (execa, ssh2, the images, the set-up tasks) are loaded at first use. Commands that only read the state
 * never load them.
 */
export async function openContext(request: OpenRequest): Promise<Ops> {
  const { state, signal, ui, argv } = request
  const { env } = process
  const now = () => new Date()
  const operator = operatorOf(argv, now())
  const files = createStateFolder(state, env)
  const onWait = (text: string) => ui.events.emit({ kind: 'notice', text })
  const store = await createStore({ files, operator, env, onWrite: stopAfterWrite(env), signal, onWait })
  const local = lazyCommands()
  const ssh = lazySsh(env)
  const plugins = request.plugins ? ((await store.preferences()).plugins ?? []) : []
  const providers = await createRegistry({ local, ssh, env, plugins, startedAs: process.argv[1] })
  const nix = lazyNix(async () => {
    const [{ createNix }, real] = await Promise.all([import('../nix/nix.js'), commands()])
    const cwd = process.cwd()
    return createNix({
      local: real,
      stateRoot: files.root,
      env,
      providers: providers.all(),
      tasks: async () => (await import('./setup/tasks.js')).setupTasks,
      cwd,
    })
  })
  return {
    store,
    files,
    secrets: createSecretFiles(files),
    providers,
    nix,
    ssh,
    images: lazyImages(join(files.root, 'images'), env),
    tasks: async () => (await import('./setup/tasks.js')).setupTasks,
    hydraUsers: async (machine, deployed) =>
      (await import('./setup/hydra/user-admin.js')).hydraUserAdmin(machine, deployed),
    whyNotBuilt: async (place, derivation, run) =>
      (await import('./setup/builders/why/ask.js')).whyNotBuilt(place, derivation, run),
    proveBuilder: async (place, builder, run) =>
      (await import('./setup/builders/proof.js')).proveFrom(place, builder, run),
    events: ui.events,
    questions: ui.questions,
    operator,
    local,
    logs: (folder) =>
      createRunLogs({
        folder,
        run: operator.run,
        now,
        onProblem: (text) => ui.events.emit({ kind: 'notice', text }),
      }),
    signal,
    now,
    doctor: async (run) => {
      const { createDoctor } = await import('./doctor/doctor.js')
      return createDoctor({ local, root: files.root, providers, nix, env })(run)
    },
  }
}

function operatorOf(argv: readonly string[], now: Date): Operator {
  return {
    user: userName(),
    host: hostname(),
    command: commandLine(argv),
    run: runId(now, randomBytes(3).toString('hex')),
  }
}

/**
 * Returns the user's name. A user in a container may have no entry in passwd, and then $USER or the user id serves.
 */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return process.env.USER ?? String(process.getuid?.() ?? 'unknown')
  }
}

/**
 * Returns a function that kills the process at the n-th durable write or at an event. Crash tests imitate a power
 * cut with it.
 */
function stopAfterWrite(
  env: NodeJS.ProcessEnv,
): ((n: number, event: string | undefined) => void) | undefined {
  const last = env.HYDRA_OPS_TEST_STOP_AFTER_WRITE
  if (last === undefined) return undefined
  return (n, event) => {
    if (last === String(n) || last === event) process.kill(process.pid, 'SIGKILL')
  }
}

/** Wraps a loader so that it runs only once, at first use. */
function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loading: Promise<T> | undefined
  return () => {
    loading ??= load()
    return loading
  }
}

let loadedCommands: LocalCommands | undefined
const commands = once(async () => {
  loadedCommands = (await import('./exec/local-commands.js')).localCommands
  return loadedCommands
})

/**
 * Returns the loaded commands. Every caller that opens a byte pipe has already run a program, or was given the real
 * commands.
 */
function commandsNow(): LocalCommands {
  if (loadedCommands === undefined) throw new Error('a byte pipe was requested before any program was run')
  return loadedCommands
}

function lazyCommands(): LocalCommands {
  return {
    run: async (argv, options) => (await commands()).run(argv, options),
    interactive: async (argv, options) => (await commands()).interactive(argv, options),
    spawnDuplex: (argv, options) => commandsNow().spawnDuplex(argv, options),
    spawnReadable: (argv, options) => commandsNow().spawnReadable(argv, options),
  }
}

function lazyNix(load: () => Promise<Nix>): Nix {
  let loaded: Nix | undefined
  const nix = once(async () => {
    loaded = await load()
    return loaded
  })
  return {
    describeStore: async () => (await nix()).describeStore(),
    version: async (run) => (await nix()).version(run),
    settings: async (run) => (await nix()).settings(run),
    evaluate: async (request, run) => (await nix()).evaluate(request, run),
    nixosImages: async (request, machines, run) => (await nix()).nixosImages(request, machines, run),
    showOption: async (request, question, run) => (await nix()).showOption(request, question, run),
    build: async (derivations, flags, run) => (await nix()).build(derivations, flags, run),
    isBuilt: async (path) => (await nix()).isBuilt(path),
    folderOf: async (path) => (await nix()).folderOf(path),
    closure: async (path, run) => (await nix()).closure(path, run),
    registration: async (paths, run) => (await nix()).registration(paths, run),
    missingOn: async (host, paths, run) => (await nix()).missingOn(host, paths, run),
    copy: async (host, path, options, run) => (await nix()).copy(host, path, options, run),
    repair: async (host, path, options, run) => (await nix()).repair(host, path, options, run),
    removeBroken: async (host, path, run) => (await nix()).removeBroken(host, path, run),
    root: async (folder, name, path, run) => (await nix()).root(folder, name, path, run),
    forgetRoots: async (folder, names) => (await nix()).forgetRoots(folder, names),
    fetchable: async (host, path, options, run) => (await nix()).fetchable(host, path, options, run),
    fetch: async (host, path, options, run) => (await nix()).fetch(host, path, options, run),
    copyMethod: (host) => {
      // An evaluation precedes every copy, so the module is already loaded.
      if (loaded === undefined) throw new Error('a copy method was requested before any evaluation')
      return loaded.copyMethod(host)
    },
  }
}

function lazySsh(env: NodeJS.ProcessEnv): Ssh {
  const ssh = once(async () => {
    const [{ createSsh }, local] = await Promise.all([import('./ssh/create-ssh.js'), commands()])
    return createSsh({ local, env, homeDir: homedir() })
  })
  return {
    connect: async (target, options) => (await ssh()).connect(target, options),
    waitForBanner: async (target, options) => (await ssh()).waitForBanner(target, options),
    showsKey: async (target, options) => (await ssh()).showsKey(target, options),
    probe: async (target, options) => (await ssh()).probe(target, options),
    ensureKeyPair: async (file, run) => (await ssh()).ensureKeyPair(file, run),
    resolveUserConfig: async (host, run, login) => (await ssh()).resolveUserConfig(host, run, login),
    renderConfig: (targets, files) => renderConfig(targets, files, { env, homeDir: homedir() }),
  }
}

function lazyImages(root: string, env: NodeJS.ProcessEnv): ImageStore {
  const images = once(async () => {
    const [{ createImageStore }, local] = await Promise.all([import('./images/store.js'), commands()])
    return createImageStore({ root, local, env })
  })
  return {
    list: async () => (await images()).list(),
    find: async (reference, id, recipe) => (await images()).find(reference, id, recipe),
    ensure: async (reference, run, options) => (await images()).ensure(reference, run, options),
    remove: async (idOrReference, inUse) => (await images()).remove(idOrReference, inUse),
  }
}

import { accessSync, constants, existsSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'

/** The Nix store that the operator host uses for all evaluations and builds. */
export interface NixStore {
  /**
   * `given` = the user's NIX_REMOTE; `daemon` = a Nix daemon of this host; `host` = /nix/store itself;
   * `own` = a chroot store in the state folder, which needs user namespaces, but neither root nor a daemon.
   */
  readonly kind: 'given' | 'daemon' | 'host' | 'own'
  /** Value of NIX_REMOTE. */
  readonly remote: string
  /** The reason for the choice, as a sentence for `doctor`. */
  readonly why: string
  /** The folder on this host that the store calls `/nix/store`. */
  readonly realStoreDir: string
  /** Whether builds run as this user; false = the Nix daemon runs the builds. */
  readonly buildsHere: boolean
  /** Whether the store is a chroot store, so that `/nix/store` is in another folder. */
  readonly chroot: boolean
}

export type Environment = Readonly<Record<string, string | undefined>>

export interface StoreChoiceOptions {
  /** The state folder; its subfolder `nix` is hydra-ops's own store. */
  readonly stateRoot: string
  readonly env: Environment
  /** The root of the host's Nix, for tests. */
  readonly nixRoot?: string
}

/** WORKER_MAGIC_1 of Nix's worker protocol (worker-protocol.hh), little-endian. */
const clientMagic = Buffer.from('6378696e00000000', 'hex')

/** Milliseconds in which a daemon must answer a greeting. */
const daemonAnswersWithin = 3_000

/** Chooses the first usable store: NIX_REMOTE, a daemon, /nix/store, or hydra-ops's own store. */
export async function chooseStore(options: StoreChoiceOptions): Promise<NixStore> {
  const { env, stateRoot, nixRoot = '/nix' } = options
  const given = env.NIX_REMOTE
  if (given !== undefined && given !== '' && given !== 'auto') return givenStore(given)
  const storeDir = join(nixRoot, 'store')
  const daemon = await greetDaemon(
    env.NIX_DAEMON_SOCKET_PATH ?? join(nixRoot, 'var/nix/daemon-socket/socket'),
  )
  if (daemon === 'answers') {
    return {
      kind: 'daemon',
      remote: 'daemon',
      why: 'the Nix daemon of this host answers',
      realStoreDir: storeDir,
      buildsHere: false,
      chroot: false,
    }
  }
  if (writable(storeDir)) {
    return {
      kind: 'host',
      remote: 'local',
      why: `${daemon}; this user can write to ${storeDir}`,
      realStoreDir: storeDir,
      buildsHere: true,
      chroot: false,
    }
  }
  const own = join(stateRoot, 'nix')
  return {
    kind: 'own',
    remote: chrootUri(own),
    why: `${daemon}, and ${existsSync(storeDir) ? `this user cannot write to ${storeDir}` : `there is no ${storeDir}`}; hydra-ops uses its own store in ${own}`,
    realStoreDir: join(own, 'nix/store'),
    buildsHere: true,
    chroot: true,
  }
}

/** Tells whether the store is a chroot store that does not exist yet. */
export function isUnbornStore(store: NixStore): boolean {
  return store.chroot && !existsSync(store.realStoreDir)
}

/** Returns NIX_REMOTE and NIX_CONFIG for a store. Existing lines of NIX_CONFIG are kept, and take precedence. */
export function storeEnvironment(store: NixStore, env: Environment, root = isRoot()): Record<string, string> {
  const lines = store.buildsHere ? buildSettings(store, root) : []
  const given = env.NIX_CONFIG
  return {
    NIX_REMOTE: store.remote,
    NIX_CONFIG: [...lines, ...(given === undefined || given === '' ? [] : [given])].join('\n'),
  }
}

function buildSettings(store: NixStore, root: boolean): string[] {
  const lines: string[] = []
  if (store.chroot) {
    // `/bin/sh` builders need these paths. A chroot store always builds in a sandbox, and Debian's Nix
    // includes no shell for sandboxes.
    const paths = ['/bin', '/usr', '/lib', '/lib64'].filter((path) => existsSync(path))
    lines.push(`sandbox-paths = ${paths.join(' ')}`)
  }
  if (root && !hasBuildUsers()) lines.push('build-users-group =', 'sandbox = false')
  return lines
}

function givenStore(remote: string): NixStore {
  const root = rootOf(remote)
  return {
    kind: 'given',
    remote,
    why: `NIX_REMOTE is set to '${remote}'`,
    realStoreDir: join(root ?? '/', 'nix/store'),
    buildsHere: root !== undefined || remote === 'local',
    chroot: root !== undefined,
  }
}

/** Returns the root folder of `/folder` and `local?root=/folder`; undefined for a store that names no folder. */
function rootOf(remote: string): string | undefined {
  if (remote.startsWith('/')) return remote
  const query = /^local(?:\?|:\/\/[^?]*\?)(.*)$/.exec(remote)?.[1]
  return query === undefined ? undefined : (new URLSearchParams(query).get('root') ?? undefined)
}

/**
 * Returns the path itself if Nix would read it as a path. Any other path is escaped, because `?` begins the
 * parameters of a store.
 */
function chrootUri(path: string): string {
  if (/^[^?#&%+]*$/.test(path)) return path
  return `local?root=${encodeURIComponent(path).replaceAll('%2F', '/')}`
}

/** Greets the daemon as a client does, to detect a socket without a daemon. */
function greetDaemon(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    const settle = (answer: string) => {
      clearTimeout(deadline)
      socket.destroy()
      resolve(answer)
    }
    const deadline = setTimeout(
      () => settle(`the Nix daemon's socket ${path} does not answer`),
      daemonAnswersWithin,
    )
    socket.once('connect', () => socket.write(clientMagic))
    socket.once('data', () => settle('answers'))
    socket.once('close', () => settle(`the Nix daemon's socket ${path} was closed without an answer`))
    socket.once('error', (error: NodeJS.ErrnoException) => settle(daemonAbsent(error.code, path)))
  })
}

function daemonAbsent(code: string | undefined, path: string): string {
  if (code === 'EACCES') return `this user may not use the Nix daemon (group 'nix-users')`
  if (code === 'ENOENT') return 'there is no Nix daemon'
  return `the Nix daemon's socket ${path} does not answer (${code ?? 'unknown error'})`
}

function writable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

function hasBuildUsers(): boolean {
  try {
    return /^nixbld:/m.test(readFileSync('/etc/group', 'utf8'))
  } catch {
    return false
  }
}

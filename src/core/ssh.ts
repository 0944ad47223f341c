import type { Duplex } from 'node:stream'
import type { MachineName } from './names.js'
import type { Run } from './run.js'

/** The address and credentials of a machine for SSH. */
export interface SshTarget {
  readonly machine: MachineName
  readonly host: string
  /** The requested host name, if the ssh configuration replaced this name with `host`. */
  readonly askedHost?: string | undefined
  readonly port: number
  readonly user: string
  /** The host key, `ssh-ed25519 AAAA…`; undefined before the first contact, until a key is accepted. */
  readonly hostKey: string | undefined
  /** Absolute paths of existing private keys. */
  readonly identityFiles: readonly string[]
  /** Absolute paths of certificates that are configured in addition to the keys (`CertificateFile`). */
  readonly certificateFiles?: readonly string[] | undefined
  readonly useAgent: boolean
  /** The socket of an agent other than `$SSH_AUTH_SOCK` (`IdentityAgent`). */
  readonly agentSocket?: string | undefined
  /** Whether the agent may offer only the keys whose files are listed in `identityFiles`. */
  readonly identitiesOnly?: boolean | undefined
  /** Whether the host existed before hydra-ops accepted its key; the error about a changed key depends on this fact. */
  readonly existingHost?: boolean | undefined
  /** The jump host as the user wrote it (`user@host:port`), reached through the system's `ssh -W`. */
  readonly jump: string | undefined
  /** The user's own ProxyCommand with expanded tokens. */
  readonly proxyCommand: string | undefined
  /** `deployment.sshOptions` as given, for the system's ssh. */
  readonly sshOptions: readonly string[]
  /** `deployment.privilegeEscalationCommand`, for a `user` other than root. */
  readonly privilegeEscalation: readonly string[]
}

/** The result of a remote or local command. A missing exit code is never success. */
export type CommandResult = { readonly stdout: string; readonly stderr: string } & (
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: string }
  /** The connection was lost before the result arrived. */
  | { readonly kind: 'lost' }
)

export interface RemoteOptions {
  readonly signal: AbortSignal
  /** The command's deadline in milliseconds. The OpsError about a missed deadline names `what`. */
  readonly timeoutMs: number
  /** The command's purpose, for errors: `read facts`, `install packages`. */
  readonly what: string
  /** Data for standard input, which also carries secrets. */
  readonly stdin?: string | Uint8Array | NodeJS.ReadableStream
  /** Whether the command runs as the login user instead of root. Default: false. */
  readonly asLoginUser?: boolean
  /** Receives each line of output as it arrives, without framing. */
  onLine?(line: string, stream: 'stdout' | 'stderr'): void
}

/** One connection to one machine, for many commands at once. */
export interface Host {
  readonly machine: MachineName
  readonly target: SshTarget
  /**
   * How commands become root: `root` needs nothing, and `sudo` needs no password. `sudo-password` needs a password,
   * which the user enters once. The first command determines the value, so that no extra session is needed.
   */
  readonly escalation: 'untried' | 'root' | 'sudo' | 'sudo-password'
  /** Whether the login shell prints text or cannot be trusted with a binary protocol. */
  readonly noisyShell: boolean
  /** Runs an argument vector that no shell interprets. */
  exec(argv: readonly string[], options: RemoteOptions): Promise<CommandResult>
  /** Runs a POSIX sh script with positional parameters; data belongs in the parameters, never in the script text. */
  script(text: string, args: readonly string[], options: RemoteOptions): Promise<CommandResult>
  /** Listens on a loopback port of the machine, and forwards connections to a loopback port of the operator host. */
  forwardFromRemote(
    operatorPort: number,
    options: { signal: AbortSignal },
  ): Promise<{ port: number; close(): Promise<void> }>
  /** Opens a TCP connection from the machine, as `ssh -W` does, for health checks of unpublished ports. */
  connectTcp(host: string, port: number, options: { signal: AbortSignal; timeoutMs: number }): Promise<Duplex>
  close(): void
}

export interface HostKeySeen {
  /** The key, `ssh-ed25519 AAAA…`. */
  readonly key: string
  /** The fingerprint `SHA256:…`, as OpenSSH shows it. */
  readonly fingerprint: string
}

export interface ConnectOptions {
  readonly signal: AbortSignal
  /** The time limit in milliseconds; the timeout error reports the observations of the wait. */
  readonly timeoutMs: number
  /** Whether to open a new TCP connection, even if a connection that just showed sshd's banner is still open. */
  readonly newConnection?: boolean
  /** Asks the user for the sudo password, which is never stored. */
  sudoPassword?(): Promise<string>
  /**
   * Decides on the host key at the first contact; false refuses the key. An unknown key is refused if this function is
   * absent.
   */
  acceptHostKey?(seen: HostKeySeen): Promise<boolean>
}

/** The SSH layer. */
export interface Ssh {
  /** Connects and authenticates; throws `UNREACHABLE`, or an error with both fingerprints for a changed host key. */
  connect(target: SshTarget, options: ConnectOptions): Promise<{ host: Host; hostKey: string }>
  /**
   * Waits for an SSH banner, since an accepted TCP connection proves nothing; the timeout error reports the
   * observations.
   */
  waitForBanner(
    target: SshTarget,
    options: { signal: AbortSignal; timeoutMs: number; onState?(state: string): void },
  ): Promise<void>
  /** Tries once whether the target speaks SSH, for `info` and `check`. */
  probe(target: SshTarget, options: { signal: AbortSignal; timeoutMs: number }): Promise<boolean>
  /**
   * Tells whether the target presents its pinned host key, without a login. A target without a pinned key only has to
   * answer.
   */
  showsKey(target: SshTarget, options: { signal: AbortSignal; timeoutMs: number }): Promise<boolean>
  /** Creates an ed25519 key pair (0600) if it is missing; returns the public key `ssh-ed25519 AAAA…`. */
  ensureKeyPair(file: string, run: Run): Promise<string>
  /** Reads the user's ~/.ssh/config for an existing host and the planned login (`ssh -G`). */
  resolveUserConfig(host: string, run: Run, login: LoginRequest): Promise<UserSshConfig>
  /** Returns the configuration and known_hosts for the system's ssh; a machine's alias is its name. */
  renderConfig(
    targets: readonly SshTarget[],
    files: { knownHosts: string },
  ): { config: string; knownHosts: string }
}

/** The expression's part of a login; the ssh configuration supplies the rest. */
export interface LoginRequest {
  readonly user: string | undefined
  readonly port: number | undefined
  /** `deployment.sshOptions`, whose user, port and host name take precedence. */
  readonly sshOptions: readonly string[]
}

/** The relevant output of `ssh -G`, with expanded `~` and `%` tokens and without missing identity files. */
export interface UserSshConfig {
  readonly hostName: string
  readonly port: number
  /** The requested user, else the user of the configuration, else root. */
  readonly user: string
  readonly identityFiles: readonly string[]
  readonly certificateFiles: readonly string[]
  readonly jump: string | undefined
  readonly proxyCommand: string | undefined
  readonly useAgent: boolean
  readonly agentSocket: string | undefined
  readonly identitiesOnly: boolean
}

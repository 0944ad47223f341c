import type { Duplex } from 'node:stream'
import type { MachineName } from './names.js'
import type { Run } from './run.js'

/** The address and credentials of a machine for SSH. */
export interface SshTarget {
  readonly machine: MachineName
  readonly host: string
  /** The requested name, if an ssh configuration turned this name into `host`. */
  readonly askedHost?: string | undefined
  readonly port: number
  readonly user: string
  /** The host key, `ssh-ed25519 AAAA…`; undefined before the first contact, when the key is still to be accepted. */
  readonly hostKey: string | undefined
  /** Absolute paths of existing private keys. */
  readonly identityFiles: readonly string[]
  /** Absolute paths of certificates that are named beside the keys (`CertificateFile`). */
  readonly certificateFiles?: readonly string[] | undefined
  readonly useAgent: boolean
  /** The socket of an agent other than `$SSH_AUTH_SOCK` (`IdentityAgent`). */
  readonly agentSocket?: string | undefined
  /** Whether the agent may offer only the keys whose file is listed in `identityFiles`. */
  readonly identitiesOnly?: boolean | undefined
  /** Whether the host existed before hydra-ops accepted its key, which decides the error about a changed key. */
  readonly existingHost?: boolean | undefined
  /** The jump as the user writes it (`user@host:port`), carried by the system's `ssh -W`. */
  readonly jump: string | undefined
  /** The user's own ProxyCommand with expanded tokens. */
  readonly proxyCommand: string | undefined
  /** `deployment.sshOptions` as given, for the system's ssh. */
  readonly sshOptions: readonly string[]
  /** `deployment.privilegeEscalationCommand`, for a `user` other than root. */
  readonly privilegeEscalation: readonly string[]
}

/** The end of a remote (or local) command. A missing exit code is never success. */
export type CommandResult = { readonly stdout: string; readonly stderr: string } & (
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: string }
  /** The connection was lost before the result arrived. */
  | { readonly kind: 'lost' }
)

export interface RemoteOptions {
  readonly signal: AbortSignal
  /** The command's deadline in milliseconds, whose expiry is an OpsError that names `what`. */
  readonly timeoutMs: number
  /** The action for errors: `read facts`, `install packages`. */
  readonly what: string
  /** Bytes for standard input, the way of secrets. */
  readonly stdin?: string | Uint8Array | NodeJS.ReadableStream
  /** Whether the command runs as the login user instead of root. Default: root. */
  readonly asLoginUser?: boolean
  /** Takes each line as it arrives, without framing. */
  onLine?(line: string, stream: 'stdout' | 'stderr'): void
}

/** One connection to one machine, for many commands at once. */
export interface Host {
  readonly machine: MachineName
  readonly target: SshTarget
  /**
   * The way to root: `root` = already root, `sudo` = without a password, `sudo-password` = with a password, asked once.
   * The first command finds the way, so that no session is needed only to ask.
   */
  readonly escalation: 'untried' | 'root' | 'sudo' | 'sudo-password'
  /** Whether the login shell prints text or cannot be trusted with a binary protocol. */
  readonly noisyShell: boolean
  /** Runs an argument vector that no shell interprets. */
  exec(argv: readonly string[], options: RemoteOptions): Promise<CommandResult>
  /** Runs a POSIX sh script with positional parameters; the script text must hold no data. */
  script(text: string, args: readonly string[], options: RemoteOptions): Promise<CommandResult>
  /** Listens on a loopback port of the machine and carries connections to a port of the operator's loopback. */
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
  /** The time limit in milliseconds; the error then reports the observations of the wait. */
  readonly timeoutMs: number
  /** Whether a new TCP connection is made, although one that showed sshd's banner a moment ago is still open. */
  readonly newConnection?: boolean
  /** Asks for sudo's password, which is never stored. */
  sudoPassword?(): Promise<string>
  /** Decides on the host key at the first contact; false refuses the key. An absent function refuses an unknown key. */
  acceptHostKey?(seen: HostKeySeen): Promise<boolean>
}

/** The SSH layer. */
export interface Ssh {
  /** Connects and authenticates; throws `unreachable`, or an error with both fingerprints for a changed host key. */
  connect(target: SshTarget, options: ConnectOptions): Promise<{ host: Host; hostKey: string }>
  /** Waits for an SSH banner, since a mere accept is not proof; the timeout's error reports the observations. */
  waitForBanner(
    target: SshTarget,
    options: { signal: AbortSignal; timeoutMs: number; onState?(state: string): void },
  ): Promise<void>
  /** Tries once whether the target speaks SSH, for `info` and `check`. */
  probe(target: SshTarget, options: { signal: AbortSignal; timeoutMs: number }): Promise<boolean>
  /** Tells whether the target shows its pinned host key, without a login; a target without one only has to answer. */
  showsKey(target: SshTarget, options: { signal: AbortSignal; timeoutMs: number }): Promise<boolean>
  /** Makes an ed25519 key pair (0600) if it is missing; returns the public key `ssh-ed25519 AAAA…`. */
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

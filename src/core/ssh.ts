import type { Duplex } from 'node:stream'
import type { MachineName } from './names.js'
import type { Run } from './run.js'

/** How to reach a machine over SSH. */
export interface SshTarget {
  readonly machine: MachineName
  readonly host: string
  /** The name that was asked for, where an ssh configuration made `host` of it. */
  readonly askedHost?: string | undefined
  readonly port: number
  readonly user: string
  /** `ssh-ed25519 AAAA…`; undefined = first contact, the key is still to be accepted. */
  readonly hostKey: string | undefined
  /** Absolute paths of private keys that exist. */
  readonly identityFiles: readonly string[]
  /** Absolute paths of certificates that are named beside the keys (`CertificateFile`). */
  readonly certificateFiles?: readonly string[] | undefined
  readonly useAgent: boolean
  /** Socket of the agent, where it is not `$SSH_AUTH_SOCK` (`IdentityAgent`). */
  readonly agentSocket?: string | undefined
  /** Of the agent's keys, only those whose file is listed in `identityFiles`. */
  readonly identitiesOnly?: boolean | undefined
  /** The host existed before us: its key was accepted, not made by us. For the error when the key changes. */
  readonly existingHost?: boolean | undefined
  /** A jump as the user writes it (`user@host:port`), carried by the system's `ssh -W`. */
  readonly jump: string | undefined
  /** The user's own ProxyCommand, its tokens filled in. */
  readonly proxyCommand: string | undefined
  /** `deployment.sshOptions` as given, for the system's ssh. */
  readonly sshOptions: readonly string[]
  /** `deployment.privilegeEscalationCommand`; used when `user` is not root. */
  readonly privilegeEscalation: readonly string[]
}

/** How a remote (or local) command ended. A missing exit code is never success. */
export type CommandResult = { readonly stdout: string; readonly stderr: string } & (
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'killed'; readonly signal: string }
  /** The connection went away before the result did. */
  | { readonly kind: 'lost' }
)

export interface RemoteOptions {
  readonly signal: AbortSignal
  /** Deadline of this command in milliseconds; its expiry is an OpsError that names the command's `what`. */
  readonly timeoutMs: number
  /** What is being done, for errors: `read facts`, `install packages`. */
  readonly what: string
  /** Bytes for its standard input; where secrets go. */
  readonly stdin?: string | Uint8Array | NodeJS.ReadableStream
  /** As the login user instead of root. Default: root. */
  readonly asLoginUser?: boolean
  /** Each line as it arrives, without framing. */
  onLine?(line: string, stream: 'stdout' | 'stderr'): void
}

/** One connection to one machine; many commands at once. */
export interface Host {
  readonly machine: MachineName
  readonly target: SshTarget
  /** How root is reached: `root` = is root, `sudo` = without a password, `sudo-password` = asked once. */
  readonly escalation: 'root' | 'sudo' | 'sudo-password'
  /** The login shell prints or cannot be trusted with a binary protocol. */
  readonly noisyShell: boolean
  /** Runs an argument vector; nothing in it is interpreted by any shell. */
  exec(argv: readonly string[], options: RemoteOptions): Promise<CommandResult>
  /** Runs a POSIX sh script with positional parameters; the script text must hold no data. */
  script(text: string, args: readonly string[], options: RemoteOptions): Promise<CommandResult>
  /** Listens on a loopback port of the machine and carries connections to a port of the operator's loopback. */
  forwardFromRemote(
    operatorPort: number,
    options: { signal: AbortSignal },
  ): Promise<{ port: number; close(): Promise<void> }>
  /** A TCP connection made from the machine, as `ssh -W` does: for health checks of ports nobody publishes. */
  connectTcp(host: string, port: number, options: { signal: AbortSignal; timeoutMs: number }): Promise<Duplex>
  close(): void
}

export interface HostKeySeen {
  /** `ssh-ed25519 AAAA…` */
  readonly key: string
  /** `SHA256:…` as OpenSSH shows it. */
  readonly fingerprint: string
}

export interface ConnectOptions {
  readonly signal: AbortSignal
  /** Milliseconds until giving up; the error says what was seen meanwhile. */
  readonly timeoutMs: number
  /**
   * Only commands of the login user are to run: whether it can become root is not asked. A command as root is then
   * tried without a password.
   */
  readonly asLoginUser?: boolean
  /** Asked for when sudo wants one. Never stored. */
  sudoPassword?(): Promise<string>
  /** Called at the first contact; answer false to refuse. Without it an unknown key is refused. */
  acceptHostKey?(seen: HostKeySeen): Promise<boolean>
}

/** The SSH layer. */
export interface Ssh {
  /** Connects and authenticates; throws `unreachable` or, for a changed host key, an error with both fingerprints. */
  connect(target: SshTarget, options: ConnectOptions): Promise<{ host: Host; hostKey: string }>
  /** Waits until something there speaks SSH (a banner, not a mere accept); says what it saw when it gives up. */
  waitForBanner(
    target: SshTarget,
    options: { signal: AbortSignal; timeoutMs: number; onState?(state: string): void },
  ): Promise<void>
  /** One attempt for `info` and `check`: does it speak SSH? */
  probe(target: SshTarget, options: { signal: AbortSignal; timeoutMs: number }): Promise<boolean>
  /** Makes an ed25519 key pair (0600) unless there is one; returns the public key `ssh-ed25519 AAAA…`. */
  ensureKeyPair(file: string, run: Run): Promise<string>
  /** Reads the user's ~/.ssh/config for a host that exists, and for the login that will be made there (`ssh -G`). */
  resolveUserConfig(host: string, run: Run, login: LoginRequest): Promise<UserSshConfig>
  /** The text of the configuration for the system's ssh, and of its known_hosts; alias of a machine = its name. */
  renderConfig(
    targets: readonly SshTarget[],
    files: { knownHosts: string },
  ): { config: string; knownHosts: string }
}

/** What the expression says of a login; the ssh configuration says the rest. */
export interface LoginRequest {
  readonly user: string | undefined
  readonly port: number | undefined
  /** `deployment.sshOptions`: what they say of user, port and host name comes first. */
  readonly sshOptions: readonly string[]
}

/** What `ssh -G` says that concerns us; `~` and `%` tokens expanded, missing identity files dropped. */
export interface UserSshConfig {
  readonly hostName: string
  readonly port: number
  /** The one that was asked for, else that of the configuration, else root. */
  readonly user: string
  readonly identityFiles: readonly string[]
  readonly certificateFiles: readonly string[]
  readonly jump: string | undefined
  readonly proxyCommand: string | undefined
  readonly useAgent: boolean
  readonly agentSocket: string | undefined
  readonly identitiesOnly: boolean
}

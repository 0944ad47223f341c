import type { DeploymentUuid, MachineName } from './names.js'

/** A secret that hydra-ops generated for a machine. */
export interface GeneratedSecret {
  /** The name of the secret, as shown to users. */
  readonly name: string
  forget(): Promise<void>
}

/**
 * The secrets that hydra-ops generates for one deployment. No record of the state holds a secret. The promise of a
 * write is fulfilled once the secret would survive a power failure.
 */
export interface DeploymentSecrets {
  /** The location of the secrets, as shown to users: a folder, or the address of a server. */
  readonly place: string
  /**
   * Returns the text of a generated secret without its final newline, or undefined if there is no such secret. `what`
   * describes the secret for errors.
   */
  readGenerated(machine: MachineName, name: string, what: string): Promise<string | undefined>
  /** Stores a generated secret, which replaces an earlier value. */
  keepGenerated(machine: MachineName, name: string, secret: string): Promise<void>
  forgetGenerated(machine: MachineName, name: string): Promise<void>
  /** Lists the generated secrets of a machine; `machines` are all machines of the deployment. */
  generatedOf(machine: MachineName, machines: readonly string[]): Promise<GeneratedSecret[]>
  /** Returns the key for the hashes of task inputs, or undefined if there is no key yet. */
  readHashKey(): Promise<Uint8Array | undefined>
  /** Stores the key for the hashes, which has `hashKeyBytes` bytes. */
  keepHashKey(key: Uint8Array): Promise<void>
  /**
   * The file of the private key that logs in to every machine; its public half has the suffix `.pub`. ssh reads keys
   * only from files, so every store writes this file.
   */
  readonly loginKeyFile: string
  /**
   * The file of the private key with which this host's Nix logs in to builders of the deployment. The public half
   * of the key has the suffix `.pub`. The Nix daemon reads the file as root.
   */
  readonly builderKeyFile: string
  forgetBuilderKey(): Promise<void>
  /** Returns the file of the private host key of a created machine. */
  hostKeyFile(machine: MachineName): string
  forgetHostKey(machine: MachineName): Promise<void>
}

/** The length in bytes of the key for the hashes of task inputs. */
export const hashKeyBytes = 32

/** The secrets of every deployment. */
export interface SecretStore {
  of(deployment: DeploymentUuid): DeploymentSecrets
}

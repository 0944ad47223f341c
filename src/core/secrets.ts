import type { DeploymentUuid, MachineName } from './names.js'

/** A secret that hydra-ops generated for a machine. */
export interface GeneratedSecret {
  /** The name of the secret, as people know it. */
  readonly name: string
  forget(): Promise<void>
}

/**
 * The secrets that hydra-ops makes for one deployment. No record of the state holds a secret. A promise to keep a
 * secret is fulfilled when the secret would survive a power cut.
 */
export interface DeploymentSecrets {
  /** The place of the secrets, as shown to people: a folder, or the address of a server. */
  readonly place: string
  /**
   * Returns the text of a generated secret without the newline at its end; undefined means that there is none. `what`
   * describes the secret for errors.
   */
  readGenerated(machine: MachineName, name: string, what: string): Promise<string | undefined>
  /** Keeps a generated secret, in place of an earlier one. */
  keepGenerated(machine: MachineName, name: string, secret: string): Promise<void>
  forgetGenerated(machine: MachineName, name: string): Promise<void>
  /** Lists the generated secrets of a machine; `machines` are all machines of the deployment. */
  generatedOf(machine: MachineName, machines: readonly string[]): Promise<GeneratedSecret[]>
  /** Returns the key under which inputs of tasks are hashed; undefined means that there is none. */
  readHashKey(): Promise<Uint8Array | undefined>
  /** Keeps the key of the hashes, which has `hashKeyBytes` bytes. */
  keepHashKey(key: Uint8Array): Promise<void>
  /**
   * The file of the private key that logs in to every machine; its public half has the suffix `.pub`. ssh reads keys
   * from files alone, so every store writes this file.
   */
  readonly loginKeyFile: string
  /**
   * The file of the private key with which this host's Nix logs in to builders of the deployment; its public half has
   * the suffix `.pub`. The Nix daemon reads the file as root.
   */
  readonly builderKeyFile: string
  forgetBuilderKey(): Promise<void>
  /** Returns the file of the private host key of a created machine. */
  hostKeyFile(machine: MachineName): string
  forgetHostKey(machine: MachineName): Promise<void>
}

/** The number of bytes of the key under which inputs are hashed. */
export const hashKeyBytes = 32

/** The secrets of every deployment. */
export interface SecretStore {
  of(deployment: DeploymentUuid): DeploymentSecrets
}

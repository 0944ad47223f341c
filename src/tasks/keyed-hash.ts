import { createHmac, randomBytes } from 'node:crypto'
import { type DeploymentSecrets, hashKeyBytes } from '../core/secrets.js'
import type { DeploymentSession } from '../core/session.js'

/** Keys that a session created but has not stored yet; a dry run never stores its key. */
const unwritten = new WeakMap<DeploymentSession, Uint8Array>()

/**
 * Creates the hash function for recorded inputs that may hold secrets. The hash is an HMAC under a random key of the
 * deployment. A plain hash would let a reader of the state guess a password. The first session creates the key. A dry
 * run forgets the key; a deploy keeps the key when its work begins.
 */
export async function keyedHash(
  deployment: DeploymentSession,
  secrets: Pick<DeploymentSecrets, 'readHashKey' | 'keepHashKey'>,
): Promise<(inputs: string) => string> {
  const kept = await secrets.readHashKey()
  const key = kept ?? unwritten.get(deployment) ?? (await makeKey(deployment, secrets))
  return (inputs) => createHmac('sha256', key).update(inputs).digest('hex')
}

/**
 * Creates the key. The key is remembered before the first await, so that machines that ask meanwhile get the same key.
 */
async function makeKey(
  deployment: DeploymentSession,
  secrets: Pick<DeploymentSecrets, 'keepHashKey'>,
): Promise<Uint8Array> {
  const key = randomBytes(hashKeyBytes)
  unwritten.set(deployment, key)
  await deployment.whenWriting(() => secrets.keepHashKey(key))
  return key
}

import { createHmac, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeFolderDurably, replaceDurably } from '../core/durable-file.js'
import { failure, messageOf } from '../core/errors.js'
import { errnoOf } from '../core/file-failure.js'
import type { DeploymentSession } from '../core/session.js'
import { shellQuote } from '../core/shell-quote.js'

/** Keys that a session created and that are not on disk yet, or never will be. */
const unwritten = new WeakMap<DeploymentSession, Buffer>()

/**
 * Makes the hash function for recorded inputs that may hold secrets: an HMAC under a random key of the deployment, kept
 * 0600. A plain hash would let somebody guess a password. The first session creates the key; a dry run forgets the key,
 * and a deploy writes it when its work begins.
 */
export async function keyedHash(deployment: DeploymentSession): Promise<(inputs: string) => string> {
  const key = readKey(deployment) ?? unwritten.get(deployment) ?? (await makeKey(deployment))
  return (inputs) => createHmac('sha256', key).update(inputs).digest('hex')
}

function keyFile(deployment: DeploymentSession): string {
  return join(deployment.paths.keys, 'hash.key')
}

const keyBytes = 32

function readKey(deployment: DeploymentSession): Buffer | undefined {
  const file = keyFile(deployment)
  let key: Buffer
  try {
    key = readFileSync(file)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw failure('HASH_KEY', `the deployment's hash key cannot be read: ${messageOf(error)}`)
  }
  if (key.length === keyBytes) return key
  throw failure(
    'HASH_KEY',
    `the deployment's hash key is damaged: ${file} has ${key.length} bytes instead of ${keyBytes}`,
    {
      hint: `put back a copy of it; or rm ${shellQuote(file)}: the next deploy makes a new one and runs each set-up task once more`,
    },
  )
}

async function makeKey(deployment: DeploymentSession): Promise<Buffer> {
  const key = randomBytes(keyBytes)
  unwritten.set(deployment, key)
  await deployment.whenWriting(() => {
    makeFolderDurably(deployment.paths.keys)
    replaceDurably(keyFile(deployment), key)
  })
  return key
}

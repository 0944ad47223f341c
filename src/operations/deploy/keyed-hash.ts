import { createHmac, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { failure, messageOf } from '../../core/errors.js'
import type { Session } from './session.js'

/**
 * What is recorded of inputs that may hold secrets: an HMAC under a random key of the deployment, kept 0600.
 * A plain hash of a password could be guessed. A dry run before the first deploy has no key and gets one that
 * is forgotten: nothing was recorded yet that it could be compared with.
 */
export function keyedHash(session: Session): (inputs: string) => string {
  const key = readKey(session) ?? makeKey(session)
  return (inputs) => createHmac('sha256', key).update(inputs).digest('hex')
}

function keyFile(session: Session): string {
  return join(session.paths.keys, 'hash.key')
}

function readKey(session: Session): Buffer | undefined {
  try {
    return readFileSync(keyFile(session))
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw failure('HASH_KEY', `the deployment's hash key cannot be read: ${messageOf(error)}`)
  }
}

function makeKey(session: Session): Buffer {
  const key = randomBytes(32)
  if (session.writable) {
    mkdirSync(session.paths.keys, { recursive: true, mode: 0o700 })
    writeFileSync(keyFile(session), key, { mode: 0o600, flag: 'wx' })
  }
  return key
}

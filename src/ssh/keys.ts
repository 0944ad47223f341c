import { chmodSync, existsSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { LocalCommands } from '../core/context.js'
import { makeFolderDurably, renameDurably, replaceFile } from '../core/durable-file.js'
import { failure, messageOf } from '../core/errors.js'
import type { Run } from '../core/run.js'
import { seenKey } from './host-key.js'
import { type Identity, loadIdentity } from './identities.js'

const deadlineMs = 60_000

/**
 * Implements `Ssh.ensureKeyPair`. A crash leaves the old pair, the new pair, or a private key whose public half the
 * next call recreates.
 */
export async function ensureKeyPair(
  file: string,
  run: Run,
  local: Pick<LocalCommands, 'run'>,
): Promise<string> {
  try {
    if (!existsSync(file)) await generate(file, run, local)
    chmodSync(file, 0o600)
    const identity = loadIdentity(file)
    if (identity.kind !== 'usable') throw failure('KEY_PAIR', whyUnusable(identity))
    const line = seenKey(identity.blob).key
    const publicFile = `${file}.pub`
    if (!existsSync(publicFile)) await replaceFile(publicFile, `${line} hydra-ops\n`, { mode: 0o644 })
    return line
  } catch (error) {
    throw failure('KEY_PAIR', `there is no usable key pair at '${file}': ${messageOf(error)}`, {
      cause: error,
    })
  }
}

function whyUnusable(identity: Exclude<Identity, { readonly kind: 'usable' }>): string {
  switch (identity.kind) {
    case 'encrypted':
      return 'the private key has a passphrase'
    case 'security-key':
      return 'the private key is on a security key'
    case 'public':
      return 'the file has a public key in place of the private key'
    case 'unreadable':
      return `the private key cannot be read: ${identity.reason}`
  }
}

async function generate(file: string, run: Run, local: Pick<LocalCommands, 'run'>): Promise<void> {
  await makeFolderDurably(dirname(file))
  const fresh = `${file}.new`
  rmSync(fresh, { force: true })
  rmSync(`${fresh}.pub`, { force: true })
  // The key has no passphrase, because the file's mode 0600 protects the key.
  const result = await local.run(
    ['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', 'hydra-ops', '-f', fresh],
    { signal: run.signal, timeoutMs: deadlineMs, what: `create the key '${file}'` },
  )
  if (result.kind !== 'exited' || result.code !== 0) throw failure('SSH_KEYGEN', result.stderr.trim())
  rmSync(`${fresh}.pub`, { force: true })
  await renameDurably(fresh, file)
}

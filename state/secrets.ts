import { readdir, readFile, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { StateFolder } from '../src/core/deployment.js'
import { makeFolderDurably, replaceFile, temporaryName } from '../src/core/durable-file.js'
import { failure, messageOf } from '../src/core/errors.js'
import { errnoOf, fsFailure } from '../src/core/file-failure.js'
import type { DeploymentUuid, MachineName } from '../src/core/names.js'
import {
  type DeploymentSecrets,
  type GeneratedSecret,
  hashKeyBytes,
  type SecretStore,
} from '../src/core/secrets.js'
import { shellQuote } from '../src/core/shell-quote.js'

/** Creates a store that keeps secrets in files of the state folder, each readable only by its owner. */
export function createSecretFiles(files: StateFolder): SecretStore {
  const known = new Map<DeploymentUuid, DeploymentSecrets>()
  return {
    // The object is cached, because a report asks for it once per machine.
    of(uuid) {
      const secrets = known.get(uuid) ?? secretsIn(join(files.paths(uuid).root, 'keys'))
      known.set(uuid, secrets)
      return secrets
    },
  }
}

function secretsIn(folder: string): DeploymentSecrets {
  const hashKey = join(folder, 'hash.key')
  const generated = (machine: MachineName, name: string) =>
    join(folder, `${machine}.${encodeURIComponent(name)}${ending}`)
  const hostKeyFile = (machine: MachineName) => join(folder, machine, 'ssh_host_ed25519_key')
  const builderKeyFile = join(folder, 'builders_ed25519')
  return {
    place: folder,
    readGenerated: (machine, name, what) => readGenerated(generated(machine, name), what),
    keepGenerated: (machine, name, secret) => keep(generated(machine, name), `${secret}\n`),
    forgetGenerated: (machine, name) => forget(generated(machine, name)),
    generatedOf: (machine, machines) => generatedIn(folder, machine, machines),
    readHashKey: () => readHashKey(hashKey),
    keepHashKey: (key) => keep(hashKey, key),
    loginKeyFile: join(folder, 'id_ed25519'),
    builderKeyFile,
    forgetBuilderKey: async () => {
      await forget(builderKeyFile)
      await forget(`${builderKeyFile}.pub`)
    },
    hostKeyFile,
    forgetHostKey: (machine) => forget(dirname(hostKeyFile(machine))),
  }
}

/** Ending of the file of a generated secret. */
const ending = '.generated'

async function keep(file: string, content: string | Uint8Array): Promise<void> {
  await makeFolderDurably(dirname(file))
  await replaceFile(file, content)
}

async function forget(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true })
  } catch (error) {
    throw fsFailure(error, 'remove', path)
  }
}

async function readGenerated(file: string, what: string): Promise<string | undefined> {
  let kept: string
  try {
    kept = await readFile(file, 'utf8')
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw failure('SECRET', `the ${what} cannot be read: ${messageOf(error)}`, { cause: error })
  }
  if (kept.trim() !== '') return kept
  throw failure('SECRET', `the ${what} is lost, because its file ${file} is empty`, {
    hint: `restore a copy of the file; or run rm ${shellQuote(file)}, and the next deploy generates a new secret`,
  })
}

/**
 * Lists the generated secrets of a machine, and the drafts that a crash left. A machine's name may begin another name
 * (`web`, `web.db`), so the list leaves out files of other `machines`.
 */
async function generatedIn(
  folder: string,
  machine: MachineName,
  machines: readonly string[],
): Promise<GeneratedSecret[]> {
  const theirs = machines.map((name) => `${name}.`).filter((prefix) => prefix.startsWith(`${machine}.`))
  const others = theirs.filter((prefix) => prefix !== `${machine}.`)
  return (await namesIn(folder)).flatMap((file) => {
    const whole = file.replace(temporaryName, '')
    if (!whole.endsWith(ending) || !whole.startsWith(`${machine}.`)) return []
    const name = whole.slice(0, -ending.length)
    if (others.some((prefix) => name.startsWith(prefix))) return []
    const path = join(folder, file)
    return [{ name: decoded(name.slice(machine.length + 1)), forget: () => forget(path) }]
  })
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return []
    throw fsFailure(error, 'read the folder', folder)
  }
}

/** Decodes the name of a secret; a file from another program may have an undecodable name. */
function decoded(name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

async function readHashKey(file: string): Promise<Uint8Array | undefined> {
  let key: Uint8Array
  try {
    key = await readFile(file)
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw failure('HASH_KEY', `the deployment's hash key cannot be read: ${messageOf(error)}`)
  }
  if (key.length === hashKeyBytes) return key
  throw failure(
    'HASH_KEY',
    `the deployment's hash key is damaged: ${file} has ${key.length} bytes instead of ${hashKeyBytes}`,
    {
      hint: `restore a copy, or run rm ${shellQuote(file)}; the next deploy then generates a new key and repeats all set-up tasks`,
    },
  )
}

import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { DeploymentPaths } from '../../core/deployment.js'
import { failure, messageOf } from '../../core/errors.js'
import type { MachineName } from '../../core/names.js'
import type { SecretNeed } from '../../core/setup-task.js'
import { connectFromOperator } from './health-connections.js'
import { type Job, recordOf } from './job.js'
import { hostOf } from './reach.js'

/** The secrets of set-up tasks, as the operator has them. */
export interface TaskSecrets {
  /** What its keyed hash is made of; undefined = it cannot be known now (a dry run runs no command). */
  fingerprint(need: SecretNeed): Promise<string | undefined>
  read(need: SecretNeed): Promise<string>
}

/** Long enough for a password store that asks a server. */
const commandMs = 120_000
const connectMs = 20_000

/** Keyed hashes of what the sources give now, by name. */
export async function secretHashes(
  needs: readonly SecretNeed[],
  context: { readonly secrets: TaskSecrets; hmac(inputs: string): string },
): Promise<Record<string, string>> {
  const hashes: [string, string][] = []
  for (const need of needs) {
    const fingerprint = await context.secrets.fingerprint(need)
    if (fingerprint !== undefined) hashes.push([need.name, context.hmac(`${need.name}\0${fingerprint}`)])
  }
  return Object.fromEntries(hashes)
}

/** Reads each secret once per run: a command may be slow, and a person is asked only once. */
export function taskSecrets(job: Job): TaskSecrets {
  const known = job.secretTexts
  const read = (need: SecretNeed) => {
    const earlier = known.get(need.name)
    if (earlier !== undefined) return earlier
    const reading = readSecret(job, need).then((text) => usable(job, need, text))
    known.set(need.name, reading)
    return reading
  }
  return {
    read,
    fingerprint: async (need) => {
      const { source } = need
      // Asked for once: what was typed then is nowhere to be compared with.
      if (source.prompt) return 'prompt'
      if (source.generate) return `generate\0${readGenerated(job, need) ?? ''}`
      if (source.command != null && !job.session.writable) return undefined
      return read(need)
    },
  }
}

async function readSecret(job: Job, need: SecretNeed): Promise<string> {
  const { file, command, prompt } = need.source
  if (file != null) return readSecretFile(job, need, file)
  if (command != null) return runSecretCommand(job, need, command)
  if (prompt) return job.ops.questions.secret(`${need.what}, machine '${job.machine}'`)
  return readGenerated(job, need) ?? makeGenerated(job, need)
}

async function readSecretFile(job: Job, need: SecretNeed, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw refused(job, need, `its file ${file} cannot be read (${codeOf(error)})`)
  }
}

/** Its stderr is not shown: tools put secrets there too. */
async function runSecretCommand(job: Job, need: SecretNeed, argv: readonly string[]): Promise<string> {
  const what = `the command for the ${need.what}`
  const result = await job.ops.local.run(argv, { signal: job.run.signal, timeoutMs: commandMs, what })
  if (result.kind === 'exited' && result.code === 0) return result.stdout
  const end = result.kind === 'exited' ? `ended with status ${result.code}` : 'did not end by itself'
  throw failure('SECRET', `machine '${job.machine}': ${what}, '${argv[0]}', ${end}`, {
    machine: job.machine,
    hint: 'run it by hand to see why; its messages are not shown here, since they may hold secrets',
  })
}

/** Where a generated secret is kept. */
export function generatedFile(paths: DeploymentPaths, machine: MachineName, name: string): string {
  return join(paths.keys, `${machine}.${encodeURIComponent(name)}.generated`)
}

function readGenerated(job: Job, need: SecretNeed): string | undefined {
  try {
    return readFileSync(generatedFile(job.session.paths, job.machine, need.name), 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw refused(job, need, `its file cannot be read: ${messageOf(error)}`)
  }
}

function makeGenerated(job: Job, need: SecretNeed): string {
  const secret = randomBytes(18).toString('base64url')
  mkdirSync(job.session.paths.keys, { recursive: true, mode: 0o700 })
  const file = generatedFile(job.session.paths, job.machine, need.name)
  writeFileSync(file, `${secret}\n`, { mode: 0o600, flag: 'wx' })
  return secret
}

/** One newline at the end is the file's, not the secret's; one within cannot be typed by anybody. */
function usable(job: Job, need: SecretNeed, text: string): string {
  const secret = text.replace(/\r?\n$/, '')
  if (secret === '') throw refused(job, need, 'it is empty')
  if (/[\n\r\0]/.test(secret)) throw refused(job, need, 'it has more than one line')
  return secret
}

function refused(job: Job, need: SecretNeed, why: string): Error {
  return failure('SECRET', `machine '${job.machine}': ${need.what}: ${why}`, { machine: job.machine })
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : messageOf(error)
}

/** See `TaskRun.connect`. */
export function connectAsUser(job: Job, port: number): Promise<Duplex> {
  const published = job.provider.publishedPort?.(recordOf(job).allocation, port)
  const { signal } = job.run
  if (published !== undefined) return connectFromOperator(published.host, published.port, signal)
  return hostOf(job).connectTcp('127.0.0.1', port, { signal, timeoutMs: connectMs })
}

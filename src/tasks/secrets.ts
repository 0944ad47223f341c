import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import type { LocalCommands, Questions } from '../core/context.js'
import type { Bounds } from '../core/deadline.js'
import { failure, messageOf } from '../core/errors.js'
import type { MachineName } from '../core/names.js'
import { connectFromOperator } from '../core/operator-connection.js'
import type { DeploymentSecrets } from '../core/secrets.js'
import type { SecretNeed } from '../core/setup-task.js'
import { eachInTurn } from '../core/several-errors.js'
import { hostOf } from '../machine/connect.js'
import { type MachineSession, recordOf, secretsOf } from '../machine/machine.js'

/** The secrets of set-up tasks, as the operator host has them. */
export interface TaskSecrets {
  /** Returns the input of a secret's keyed hash; `undefined` means unknown, because a dry run runs no command. */
  fingerprint(need: SecretNeed): Promise<string | undefined>
  read(need: SecretNeed): Promise<string>
}

/** Deadline for a secret's command: long enough for a password store that queries a server. */
const commandMs = 120_000

/** Computes keyed hashes of the secrets that the sources currently give, by name. */
export async function secretHashes(
  needs: readonly SecretNeed[],
  context: { readonly secrets: TaskSecrets; hmac(inputs: string): string },
): Promise<Record<string, string>> {
  const hashes: [string, string][] = []
  await eachInTurn(needs, async (need) => {
    const fingerprint = await context.secrets.fingerprint(need)
    if (fingerprint !== undefined) hashes.push([need.name, context.hmac(`${need.name}\0${fingerprint}`)])
  })
  return Object.fromEntries(hashes)
}

/** Parts of a session that `taskSecrets` needs to read secrets. */
export interface SecretKeeper {
  readonly machine: MachineName
  readonly secrets: Pick<DeploymentSecrets, 'readGenerated' | 'keepGenerated'>
  /** Whether this run may run commands and write; false in a dry run. */
  readonly writable: boolean
  readonly local: Pick<LocalCommands, 'run'>
  readonly questions: Pick<Questions, 'secret'>
  readonly signal: AbortSignal
  /** Secrets that this run has read already. */
  readonly known: Map<string, Promise<string>>
}

export function secretKeeper(session: MachineSession, known: SecretKeeper['known']): SecretKeeper {
  return {
    machine: session.machine,
    secrets: secretsOf(session),
    writable: session.deployment.writable,
    local: session.ops.local,
    questions: session.ops.questions,
    signal: session.run.signal,
    known,
  }
}

/** Reads each secret once per run, because a command may be slow and a person must answer only once. */
export function taskSecrets(keeper: SecretKeeper): TaskSecrets {
  const known = keeper.known
  const read = (need: SecretNeed) => {
    const earlier = known.get(need.name)
    if (earlier !== undefined) return earlier
    const reading = readSecret(keeper, need).then((text) => usable(keeper, need, text))
    known.set(need.name, reading)
    return reading
  }
  return {
    read,
    fingerprint: async (need) => {
      const { source } = need
      // A typed secret is not stored, so later runs have nothing to compare it with.
      if (source.prompt) return 'prompt'
      if (source.generate) return `generate\0${(await readGenerated(keeper, need)) ?? ''}`
      if (source.command != null && !keeper.writable) return undefined
      return read(need)
    },
  }
}

async function readSecret(keeper: SecretKeeper, need: SecretNeed): Promise<string> {
  const { file, command, prompt } = need.source
  if (file != null) return readSecretFile(keeper, need, file)
  if (command != null) return runSecretCommand(keeper, need, command)
  if (prompt) return keeper.questions.secret(`${need.what}, machine '${keeper.machine}'`)
  return (await readGenerated(keeper, need)) ?? (await makeGenerated(keeper, need))
}

async function readSecretFile(keeper: SecretKeeper, need: SecretNeed, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw refused(keeper, need, `its file ${file} cannot be read (${codeOf(error)})`)
  }
}

/** Runs a secret's command and hides its stderr, because tools print secrets there too. */
async function runSecretCommand(
  keeper: SecretKeeper,
  need: SecretNeed,
  argv: readonly string[],
): Promise<string> {
  const what = `the command for the ${need.what}`
  const result = await keeper.local.run(argv, {
    signal: keeper.signal,
    timeoutMs: commandMs,
    what,
    stderr: 'hidden',
  })
  if (result.kind === 'exited' && result.code === 0) return result.stdout
  const end = result.kind === 'exited' ? `ended with status ${result.code}` : 'did not exit normally'
  throw failure('SECRET', `machine '${keeper.machine}': ${what}, '${argv[0]}', ${end}`, {
    machine: keeper.machine,
    hint: "run the command by hand to see why; hydra-ops hides the command's messages, because they may contain secrets",
  })
}

function readGenerated({ secrets, machine }: SecretKeeper, need: SecretNeed): Promise<string | undefined> {
  return secrets.readGenerated(machine, need.name, need.what)
}

async function makeGenerated({ secrets, machine }: SecretKeeper, need: SecretNeed): Promise<string> {
  const secret = newSecret()
  await secrets.keepGenerated(machine, need.name, secret)
  return secret
}

/** Generates a random secret. */
export function newSecret(): string {
  return randomBytes(18).toString('base64url')
}

function usable(keeper: SecretKeeper, need: SecretNeed, text: string): string {
  const secret = usableSecret(text)
  if ('wrong' in secret) throw refused(keeper, need, secret.wrong)
  return secret.secret
}

/**
 * Removes one newline at the end, which belongs to the file. Refuses a secret with a newline inside, because such a
 * secret cannot be typed.
 */
export function usableSecret(text: string): { readonly secret: string } | { readonly wrong: string } {
  const secret = text.replace(/\r?\n$/, '')
  if (secret === '') return { wrong: 'it is empty' }
  if (/[\n\r\0]/.test(secret)) return { wrong: 'it has more than one line' }
  return { secret }
}

function refused(keeper: SecretKeeper, need: SecretNeed, why: string): Error {
  return failure('SECRET', `machine '${keeper.machine}': ${need.what}: ${why}`, { machine: keeper.machine })
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : messageOf(error)
}

/** Implements `TaskRun.connect`. */
export function connectAsUser(
  session: MachineSession,
  port: number,
  bounds: Bounds,
  address = '127.0.0.1',
): Promise<Duplex> {
  const published = session.provider.publishedPort?.(recordOf(session).allocation, port)
  if (published !== undefined) return connectFromOperator(published.host, published.port, bounds.signal)
  return hostOf(session).connectTcp(address, port, bounds)
}

import { statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { z } from 'zod'
import { CommonOptions } from '../../core/common-options.js'
import type { Ops } from '../../core/context.js'
import { usageError } from '../../core/errors.js'
import { HydraOptions } from '../../core/hydra-options.js'
import { passwordRoles, UserOptions } from '../../core/hydra-users.js'
import { StorePath } from '../../core/names.js'
import { nixString } from '../../core/nix-string.js'
import type { HydraAnswers } from './hydra-template.js'
import { findNixpkgs, refuseBrokenExpression } from './nix-look.js'

/** Flags of `init hydra`, all of them text. */
export interface HydraFlags {
  readonly provider?: 'libvirtd' | 'none' | undefined
  readonly targetHost?: string | undefined
  readonly hostName?: string | undefined
  readonly httpPort?: string | undefined
  readonly admin?: string | undefined
  readonly fullName?: string | undefined
  readonly email?: string | undefined
  readonly password?: string | undefined
  readonly package?: string | undefined
}

const fieldNames = [
  ...(['targetHost', 'hostName', 'httpPort', 'admin'] as const),
  ...(['fullName', 'email', 'password', 'package'] as const),
]
type Field = (typeof fieldNames)[number]

/** Name of each flag, and the check of its value by the schemas of a deploy. */
const fields: Readonly<
  Record<Field, { readonly flag: string; readonly question: string; wrong(text: string): string | undefined }>
> = {
  targetHost: {
    flag: '--target-host HOST',
    question: 'Address of the host, or its name in ~/.ssh/config:',
    wrong: (text) =>
      bySchema(CommonOptions.shape.targetHost)(text) ??
      (/^[^\s-]\S*$/.test(text) ? undefined : 'expected an address or a name, without blanks'),
  },
  hostName: {
    flag: '--host-name NAME',
    question: 'Host name of Hydra:',
    wrong: bySchema(HydraOptions.shape.hostName),
  },
  httpPort: {
    flag: '--http-port N',
    question: 'Port of this host for its web interface:',
    wrong: (text) =>
      /^\d{1,5}$/.test(text) && HydraOptions.shape.port.safeParse(Number(text)).success
        ? undefined
        : 'expected a port: a number from 1 to 65535',
  },
  admin: {
    flag: '--admin NAME',
    question: 'Name of the first user, who has all rights:',
    wrong: bySchema(passwordRoles.userName),
  },
  fullName: {
    flag: '--full-name TEXT',
    question: 'Full name of that user (may be empty):',
    wrong: (text) => bySchema(UserOptions.shape.fullName)(text) ?? withoutNul(text),
  },
  email: {
    flag: '--email ADDRESS',
    question: 'Mail address of that user (may be empty):',
    wrong: bySchema(UserOptions.shape.emailAddress),
  },
  password: {
    flag: '--password generate|prompt|file:PATH',
    question: 'Password of that user:',
    wrong: (text) =>
      /^(?:generate|prompt|file:.+)$/s.test(text)
        ? withoutNul(text)
        : 'expected "generate", "prompt" or "file:PATH"; deploy reads that file',
  },
  package: {
    flag: '--package EXPR',
    question:
      'Package of Hydra, as a Nix expression or a store path (this host has no nixpkgs; leave it empty to decide later):',
    wrong: withoutNul,
  },
}

/**
 * Collects the answers from the flags. The user is asked for all open answers if a flag without a default is missing.
 * The error names the missing flags if there is no terminal.
 */
export async function hydraAnswers(ops: Ops, flags: HydraFlags, folder: string): Promise<HydraAnswers> {
  refuseWrong(flags)
  const asks = missing(flags, flags.provider ?? 'libvirtd').length > 0
  if (asks && !ops.questions.interactive) throw notGiven(missing(flags, flags.provider ?? 'libvirtd'))
  const ask: Asker = asks ? asker(ops, flags) : async (field, suggestion) => flags[field] ?? suggestion
  const provider = flags.provider ?? (asks ? await askProvider(ops) : 'libvirtd')
  refuseStray(flags, provider)
  const place = provider === 'none' ? await hostPlace(ask) : await guestPlace(ask)
  const hostName = await ask('hostName', suggestedHostName(place))
  const admin = await ask('admin', suggestedAdmin(ops))
  const fullName = await ask('fullName', '')
  const email = await ask('email', '')
  const password = passwordOf(flags.password ?? (asks ? await askPassword(ops, admin) : 'generate'), folder)
  const nixpkgs = await findNixpkgs(ops)
  const chosen = await packageOf(ops, nixpkgs ? (flags.package ?? '') : await ask('package', ''))
  return {
    ...{ place, hostName, admin, fullName, email, password, package: chosen },
    nixpkgs: chosen === undefined ? nixpkgs : /\bpkgs\b/.test(chosen),
  }
}

type Asker = (field: Field, suggestion: string) => Promise<string>

function asker(ops: Ops, flags: HydraFlags): Asker {
  return async (field, suggestion) => {
    const { question, wrong } = fields[field]
    return flags[field] ?? ops.questions.text(question, { suggestion, wrong })
  }
}

function askProvider(ops: Ops): Promise<'libvirtd' | 'none'> {
  return ops.questions.choose('Where should Hydra run?', [
    { value: 'libvirtd', text: 'on a new guest of this host, created by libvirt' },
    { value: 'none', text: 'on an existing Debian host, reached by SSH' },
  ])
}

function askPassword(ops: Ops, admin: string): Promise<string> {
  return ops.questions.choose(fields.password.question, [
    { value: 'generate', text: `generated; hydra-ops hydra password ${admin} shows it` },
    { value: 'prompt', text: 'asked for at the first deploy' },
  ])
}

async function hostPlace(ask: Asker): Promise<HydraAnswers['place']> {
  return { provider: 'none', targetHost: await ask('targetHost', '') }
}

async function guestPlace(ask: Asker): Promise<HydraAnswers['place']> {
  return { provider: 'libvirtd', httpPort: Number(await ask('httpPort', '8080')) }
}

/** Suggests a host name. `.localhost` is this host (RFC 6761), and browsers open such names without a name server. */
function suggestedHostName(place: HydraAnswers['place']): string {
  if (place.provider === 'libvirtd') return 'hydra.localhost'
  return fields.hostName.wrong(place.targetHost) === undefined ? place.targetHost : ''
}

function suggestedAdmin({ operator: { user } }: Ops): string {
  return user === 'root' || fields.admin.wrong(user) !== undefined ? 'admin' : user
}

/** Lists the missing flags that have no default. */
function missing(flags: HydraFlags, provider: 'libvirtd' | 'none'): string[] {
  const needed: readonly Field[] = provider === 'none' ? ['targetHost', 'hostName', 'admin'] : ['admin']
  return needed.filter((field) => flags[field] === undefined).map((field) => fields[field].flag)
}

function notGiven(names: readonly string[]): Error {
  return usageError(`these flags are missing: ${names.join(', ')}`, {
    hint: 'hydra-ops has no terminal to ask questions; hydra-ops init hydra --help explains the flags',
  })
}

function refuseWrong(flags: HydraFlags): void {
  for (const name of fieldNames) {
    const { flag, wrong } = fields[name]
    const text = flags[name]
    const why = text === undefined ? undefined : wrong(text)
    if (why === undefined) continue
    // The value may be the password itself, written by mistake.
    const got = name === 'password' ? '' : `, got ${JSON.stringify(text)}`
    throw usageError(`${flag.split(' ')[0]}: ${why}${got}`)
  }
}

/** Refuses flags of the other provider, which would otherwise have no effect. */
function refuseStray(flags: HydraFlags, provider: 'libvirtd' | 'none'): void {
  if (provider === 'libvirtd' && flags.targetHost !== undefined)
    throw usageError('--target-host is valid only with --provider none', {
      hint: 'a guest of this host needs no target host',
    })
  if (provider === 'none' && flags.httpPort !== undefined)
    throw usageError('--http-port is valid only with --provider libvirtd', {
      hint: 'an existing host answers on its own port 80',
    })
}

function passwordOf(text: string, folder: string): HydraAnswers['password'] {
  if (text === 'generate' || text === 'prompt') return { kind: text }
  const given = text.slice('file:'.length)
  const path = given.startsWith('~/') ? join(homedir(), given.slice(2)) : resolve(folder, given)
  if (statSync(path, { throwIfNoEntry: false })?.isFile() === true) return { kind: 'file', path }
  throw usageError(`--password: the file ${path} does not exist`, {
    hint: 'create the file; hydra-ops deploy reads the password from it',
  })
}

async function packageOf(ops: Ops, text: string): Promise<string | undefined> {
  const trimmed = text.trim()
  if (trimmed === '') return undefined
  if (StorePath.safeParse(trimmed).success) return nixString(trimmed)
  await refuseBrokenExpression(ops, trimmed, '--package')
  return trimmed
}

function bySchema(schema: z.ZodType): (text: string) => string | undefined {
  return (text) => {
    const issue = schema.safeParse(text).error?.issues[0]
    if (issue === undefined) return undefined
    if (issue.code === 'too_small') return 'expected some text'
    return `expected ${issue.code === 'too_big' ? `at most ${issue.maximum} characters` : issue.message}`
  }
}

/** Refuses NUL, which Nix strings cannot hold. */
function withoutNul(text: string): string | undefined {
  return text.includes('\0') ? 'expected text without NUL' : undefined
}

import * as z from 'zod'
import { documented } from './option-docs.js'

/**
 * Rules for users. Hydra itself checks neither names nor roles: `hydra-create-user` accepts a role that grants
 * nothing.
 */
export const passwordRoles = {
  userName: z
    .string()
    .regex(/^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}$/, 'a user name: letters, digits and "_.@+-", at most 64'),
  role: z.enum(['admin', 'create-projects', 'restart-jobs', 'bump-to-front', 'cancel-build', 'eval-jobset']),
}

const sources = ['file', 'command', 'prompt', 'generate'] as const

/** The source of a password, never the password itself, because secrets do not belong in an expression. */
export const PasswordSource = z
  .strictObject({
    file: documented(
      z.string().startsWith('/').nullish(),
      'file on the operator host with the password',
      './alice.password',
      { shownType: 'path' },
    ),
    command: documented(
      z.array(z.string()).min(1).nullish(),
      'command on the operator host that prints the password',
      ['pass', 'hydra/alice'],
    ),
    prompt: documented(z.boolean().default(false), 'asks for the password once, at a deploy', true),
    generate: documented(
      z.boolean().default(false),
      "generates the password, and keeps it beside the deployment's keys",
      true,
    ),
  })
  .superRefine((source, context) => {
    const given = sources.filter((each) => (source[each] ?? false) !== false)
    if (given.length === 1) return
    const got = given.length === 0 ? 'none of them' : given.join(' and ')
    const message = `expected exactly one of ${sources.slice(0, -1).join(', ')} and ${sources.at(-1)}, got ${got}`
    context.addIssue({ code: 'custom', message })
  })
export type PasswordSource = z.infer<typeof PasswordSource>

const oneLine = z.string().regex(/^[^\n\r]*$/, 'text on one line')

export const UserOptions = z.strictObject({
  fullName: documented(oneLine.default(''), 'full name on pages and in mails', 'Alice Q. User'),
  emailAddress: documented(
    z
      .string()
      .regex(/^[^\s@]+@[^\s@]+$|^$/, 'a mail address')
      .default(''),
    'mail address for notifications',
    'alice@example.org',
  ),
  roles: documented(z.array(passwordRoles.role).default([]), 'roles of the user in Hydra', ['restart-jobs']),
  password: documented(PasswordSource, 'source of the password', { generate: true }),
})
export type UserOptions = z.infer<typeof UserOptions>

/** Returns the name of a user's password in the secrets of a machine. */
export function userSecretName(user: string): string {
  return `hydra-user-${user}`
}

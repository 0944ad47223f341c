import * as z from 'zod'
import { documented, shownAs } from './option-docs.js'

const path = shownAs('path', z.string().startsWith('/'))

/** One secret that is delivered outside the Nix store (`deployment.keys` of NixOps and Colmena). */
export const KeyDefinition = z.strictObject({
  text: documented(
    z.string().nullish(),
    'the secret itself, for trying things out: it stands in your expression',
    'only for tests',
  ),
  keyFile: documented(
    z.string().nullish(),
    'a file of the operator host; read when it is sent, never copied to the Nix store',
    './db.password',
    { shownType: 'path' },
  ),
  keyCommand: documented(
    z.array(z.string()).min(1).nullish(),
    'a command on the operator host whose output is the key; run once by a deploy, never by `plan`',
    ['pass', 'show', 'db'],
  ),
  name: documented(z.string().min(1).optional(), 'name of the file', 'db.password', {
    shownDefault: "the attribute's name",
  }),
  destDir: documented(
    path.default('/run/keys'),
    'folder of the file on the machine; in `/run` it is gone after a reboot, and sent again',
    '/var/lib/app/keys',
  ),
  user: documented(
    z.string().min(1).default('root'),
    "owner of the file, who can enter the key's folder where hydra-ops made it",
    'app',
  ),
  group: documented(
    z.string().min(1).default('root'),
    "group of the file, which can enter the key's folder where hydra-ops made it",
    'app',
  ),
  permissions: documented(
    z
      .string()
      .regex(/^[0-7]{3,4}$/, 'an octal mode such as "0600"')
      .default('0600'),
    'mode of the file',
    '0640',
    { shownType: 'octal mode' },
  ),
  uploadAt: documented(
    z.enum(['pre-activation', 'post-activation']).default('pre-activation'),
    'when the key is sent: before or after the activation of what the deploy copied',
    'post-activation',
  ),
})
export type KeyDefinition = z.infer<typeof KeyDefinition>

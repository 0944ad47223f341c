import * as z from 'zod'
import { documented, shownAs } from './option-docs.js'

const path = shownAs('path', z.string().startsWith('/'))

/** A secret that is delivered outside the Nix store (`deployment.keys` of NixOps and Colmena). */
export const KeyDefinition = z.strictObject({
  text: documented(
    z.string().nullish(),
    'the secret itself, readable in your expression; for experiments only',
    'only for tests',
  ),
  keyFile: documented(
    z.string().nullish(),
    'file on the operator host with the secret; a deploy reads the file, and never copies it to the Nix store',
    './db.password',
    { shownType: 'path' },
  ),
  keyCommand: documented(
    z.array(z.string()).min(1).nullish(),
    'command on the operator host that prints the secret; a deploy runs the command once, and `plan` never runs it',
    ['pass', 'show', 'db'],
  ),
  name: documented(z.string().min(1).optional(), 'name of the file on the machine', 'db.password', {
    shownDefault: "the attribute's name",
  }),
  destDir: documented(
    path.default('/run/keys'),
    'folder of the file on the machine. A reboot empties `/run`; the next deploy or `send-keys` sends the key again',
    '/var/lib/app/keys',
  ),
  user: documented(
    z.string().min(1).default('root'),
    "owner of the file; the owner can enter the key's folder if hydra-ops made the folder",
    'app',
  ),
  group: documented(
    z.string().min(1).default('root'),
    "group of the file; the group can enter the key's folder if hydra-ops made the folder, and the group may read the file",
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
    'time of the delivery: before or after the activation',
    'post-activation',
  ),
})
export type KeyDefinition = z.infer<typeof KeyDefinition>

import * as z from 'zod'
import { documented } from './option-docs.js'

const File = z.strictObject({
  text: documented(
    z.string().nullish(),
    'text of the file; `${pkgs.NAME}` in it adds the package to the closure',
    'hello\n',
  ),
  source: documented(
    z.string().nullish(),
    'file on the operator host whose contents the file gets',
    './motd',
    {
      shownType: 'path',
    },
  ),
  mode: documented(z.string().default('0644'), 'mode of the file', '0600', { shownType: 'octal mode' }),
  user: documented(z.string().default('root'), 'owner of the file', 'www-data'),
  group: documented(z.string().default('root'), 'group of the file', 'www-data'),
})

const Unit = z.strictObject({
  text: documented(
    z.string(),
    'text of the systemd unit; the name has its suffix: `"app.service"`',
    '[Service]\nExecStart=/usr/bin/app\n',
  ),
  enable: documented(z.boolean().default(true), 'enables and starts the unit', false),
  restartTriggers: documented(
    z.array(z.unknown()).default([]),
    'values of any kind; a change of one restarts the unit',
    ['/etc/app.conf'],
  ),
})

/**
 * Options of a Debian machine that become part of its closure. nix/debian-machine.nix checks these options, because
 * derivations and texts that refer to packages never reach a schema.
 */
export const ClosureOptions = z.strictObject({
  packages: documented(
    z.array(z.string()).default([]),
    'packages on the PATH of every user: ssh commands, login shells, sudo, units',
    ['pkgs.ripgrep'],
    { shownType: 'list of derivations' },
  ),
  files: documented(
    z.record(z.string(), File).default({}),
    'files of the machine, by path',
    {
      '/etc/motd': { text: 'hello\n' },
    },
    { entryName: 'path' },
  ),
  units: documented(z.record(z.string(), Unit).default({}), 'systemd units of the machine, by name', {
    'app.service': { text: '[Service]\nExecStart=/usr/bin/app\n' },
  }),
  activate: documented(
    z.string().nullish(),
    'package whose `bin/activate` runs at each activation. A deploy activates twice if files or units wait for a set-up task, or if the first activation fails',
    'pkgs.app-setup',
    { shownType: 'derivation' },
  ),
})

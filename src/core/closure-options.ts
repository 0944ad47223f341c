import * as z from 'zod'
import { documented } from './option-docs.js'

const File = z.strictObject({
  text: documented(z.string().nullish(), 'a file with this text; may name packages by `${}`', 'hello\n'),
  source: documented(z.string().nullish(), 'a file with the contents of this one', './motd', {
    shownType: 'path',
  }),
  mode: documented(z.string().default('0644'), 'mode of the file', '0600', { shownType: 'octal mode' }),
  user: documented(z.string().default('root'), 'owner of the file', 'www-data'),
  group: documented(z.string().default('root'), 'group of the file', 'www-data'),
})

const Unit = z.strictObject({
  text: documented(
    z.string(),
    'a systemd unit (`name` with its suffix: `"app.service"`)',
    '[Service]\nExecStart=/usr/bin/app\n',
  ),
  enable: documented(z.boolean().default(true), 'enable and start the unit', false),
  restartTriggers: documented(
    z.array(z.unknown()).default([]),
    'values of any kind: the unit is restarted when one of these changes',
    ['/etc/app.conf'],
  ),
})

/**
 * The options of a Debian machine that become its closure. nix/debian-machine.nix checks them, because derivations and
 * texts that name packages never reach a schema.
 */
export const ClosureOptions = z.strictObject({
  packages: documented(
    z.array(z.string()).default([]),
    "packages on everybody's PATH: ssh commands, login shells, sudo, units",
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
    'its `bin/activate` runs at each activation; twice in a deploy where files or units wait for a set-up task, or where it failed before the tasks',
    'pkgs.app-setup',
    { shownType: 'derivation' },
  ),
})

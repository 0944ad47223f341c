import { hexEscape, keyUnitName } from '../core/key-unit-name.js'
import type { PlacedFile } from '../remote/place-files.js'

/** First line of each unit file that is ours; files without it are never touched. */
export const keyUnitMark = '# Written by hydra-ops for deployment.keys'

export const unitFolder = '/etc/systemd/system'

export interface KeyPlace {
  readonly name: string
  readonly path: string
}

/** The unit file of a key; undefined when its name is too long for one. */
export function keyUnitFile(key: KeyPlace): PlacedFile | undefined {
  const unit = keyUnitName(key.name)
  if (unit === undefined) return undefined
  const content = keyUnitText(key)
  return { path: `${unitFolder}/${unit}`, content, mode: 0o644, user: 'root', group: 'root' }
}

/**
 * Starting it waits until the key is there, so that a unit with `Requires=` and `After=` it starts when the
 * key arrives, also when that is long after a boot. It ends when the key goes. Keys that survive a reboot
 * have it started at boot; for those of /run the boot would wait for `send-keys`.
 */
function keyUnitText(key: KeyPlace): string {
  const path = systemdWord(key.path)
  return `${keyUnitMark}
[Unit]
Description=Key ${printable(key.name)} of hydra-ops
StartLimitIntervalSec=0

[Service]
Type=exec
TimeoutStartSec=infinity
ExecStartPre=:/usr/bin/perl -e ${waitPerl('until')} ${path}
ExecStart=:/usr/bin/perl -e ${waitPerl('while')} ${path}
Restart=always
RestartSec=1
${survivesReboot(key.path) ? '\n[Install]\nWantedBy=multi-user.target\n' : ''}`
}

/** One sleeping process that looks twice a second: Debian has perl always, inotify-tools not. */
function waitPerl(condition: 'until' | 'while'): string {
  return `"select(undef, undef, undef, 0.5) ${condition} -e $ARGV[0]"`
}

/** /var/run is a link to /run on everything systemd runs on. */
export function survivesReboot(path: string): boolean {
  return !/^(?:\/var)?\/run\//.test(path)
}

/** systemd.service(5), "Command lines": a quoted word with C escapes, specifiers doubled. */
function systemdWord(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte)
    if (char === '%') return '%%'
    return /[A-Za-z0-9/._:@+=,-]/.test(char) ? char : hexEscape(byte)
  })
  return `"${bytes.join('')}"`
}

/** For a description: specifiers and control characters cannot stand in it. */
function printable(text: string): string {
  return JSON.stringify(text).replaceAll('%', '%%')
}

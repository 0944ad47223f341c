import { hexEscape, keyUnitName } from '../core/key-unit-name.js'
import type { PlacedFile } from '../remote/place-files.js'
import { keyCustoms } from './key-customs.js'
import type { ResolvedKey } from './keys.js'

/** First line of each unit file that hydra-ops writes; files without this line are never touched. */
export const keyUnitMark = '# Written by hydra-ops for deployment.keys'

export const unitFolder = '/etc/systemd/system'

export type KeyPlace = Pick<ResolvedKey, 'name' | 'path' | 'os'>

/**
 * Returns the unit file of a key. Returns `undefined` if the name is too long for a unit, or if the system provides its
 * own units.
 */
export function keyUnitFile(key: KeyPlace): PlacedFile | undefined {
  const unit = keyCustoms(key.os).writesUnits ? keyUnitName(key.name) : undefined
  if (unit === undefined) return undefined
  const content = keyUnitText(key)
  return { path: `${unitFolder}/${unit}`, content, mode: 0o644, user: 'root', group: 'root' }
}

/**
 * Returns the text of a unit that starts once the key exists and ends when the key disappears. A dependent unit
 * (`Requires=`, `After=`) therefore starts when the key arrives, even long after a boot. Only the units of keys that
 * survive a reboot are started at boot. The boot would otherwise wait for `send-keys`.
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

/** Returns a wait in one process that checks twice a second. Debian always has perl, but not always inotify-tools. */
function waitPerl(condition: 'until' | 'while'): string {
  return `"select(undef, undef, undef, 0.5) ${condition} -e $ARGV[0]"`
}

/** Returns whether a path survives a reboot; /var/run is a link to /run on every system with systemd. */
export function survivesReboot(path: string): boolean {
  return !/^(?:\/var)?\/run\//.test(path)
}

/** Quotes a word with C escapes and doubled specifiers: systemd.service(5), "Command lines". */
function systemdWord(text: string): string {
  const bytes = [...Buffer.from(text)].map((byte) => {
    const char = String.fromCharCode(byte)
    if (char === '%') return '%%'
    return /[A-Za-z0-9/._:@+=,-]/.test(char) ? char : hexEscape(byte)
  })
  return `"${bytes.join('')}"`
}

/** Quotes a name for a description, which must contain neither specifiers nor control characters. */
function printable(text: string): string {
  return JSON.stringify(text).replaceAll('%', '%%')
}

import { type DaemonSettings, mailServer } from './settings.js'

/** Common parts of Hydra's unit files. */

/** First line of each file. */
export const owner = '# Written by hydra-ops (set-up task "hydra"); changes made here are overwritten.'

/** Hardening settings with which Hydra runs under systemd on Debian. */
export const hardening: readonly string[] = [
  'NoNewPrivileges=true',
  'PrivateTmp=true',
  'PrivateDevices=true',
  'ProtectHome=true',
  'ProtectSystem=strict',
  'ProtectKernelTunables=true',
  'ProtectKernelModules=true',
  'ProtectControlGroups=true',
  'RestrictSUIDSGID=true',
  'LockPersonality=true',
]

export function unitText(unit: {
  readonly unit: readonly string[]
  readonly service: readonly string[]
  readonly wantedBy?: string
}): string {
  return sections([
    ['[Unit]', ...unit.unit],
    ['[Service]', ...unit.service],
    ...(unit.wantedBy === undefined ? [] : [['[Install]', `WantedBy=${unit.wantedBy}`]]),
  ])
}

/** Writes a timer for the service of the same name. */
export function timerText(description: string, onCalendar: string): string {
  return sections([
    ['[Unit]', `Description=${description}`],
    ['[Timer]', `OnCalendar=${onCalendar}`],
    ['[Install]', 'WantedBy=timers.target'],
  ])
}

function sections(parts: readonly (readonly string[])[]): string {
  return `${owner}\n${parts.map((lines) => `${lines.join('\n')}\n`).join('\n')}`
}

export function environmentLines(environment: Readonly<Record<string, string>>): string[] {
  return Object.entries(environment).map(([name, value]) => `Environment=${quoted(`${name}=${value}`)}`)
}

/**
 * Quotes a word as systemd.syntax(7) requires: escapes quotes and backslashes, and doubles `%`, which begins a
 * specifier.
 */
export function quoted(text: string): string {
  return `"${text.replaceAll(/["\\]/g, '\\$&').replaceAll('%', '%%')}"`
}

/** Returns the environment that the options give to every service of Hydra. */
export function environmentOfOptions(settings: DaemonSettings): Record<string, string> {
  const server = mailServer(settings)
  // Perl's Email::Sender reads these variables.
  const mail =
    server === undefined ? {} : { EMAIL_SENDER_TRANSPORT: 'SMTP', EMAIL_SENDER_TRANSPORT_host: server }
  return { ...mail, ...settings.options.extraEnv }
}

import type { JournalEntry } from '../core/deployment.js'
import type { HydraUserSeen } from '../core/hydra-user-admin.js'
import type { ImageInfo, ListedImage } from '../core/image.js'
import type { Finding } from '../core/provider.js'
import type { DeploymentList, SnapshotRow } from '../core/reports.js'
import { printable } from './printable.js'
import type { Style } from './style.js'
import { boxTable, plainTable, type Row } from './table.js'

interface HydraUserView extends HydraUserSeen {
  readonly named: boolean
}

export function deploymentsView({ deployments }: DeploymentList, plain: boolean): string {
  return table(
    ['UUID', 'Name', 'Description', '# Machines', 'Type'],
    deployments.map(({ uuid, name, description, machines, types }) => [
      uuid,
      name ?? '(none)',
      description ?? '',
      String(machines),
      types.join(', '),
    ]),
    plain,
  )
}

export function historyView(entries: readonly JournalEntry[], plain: boolean): string {
  return table(
    ['When', 'Who', 'Machine', 'Event', 'Result', 'Command', 'Run'],
    entries.map((entry) => [
      entry.at,
      `${entry.user}@${entry.host}`,
      entry.machine ?? '',
      entry.event,
      entry.result ?? '',
      entry.command,
      entry.run,
    ]),
    plain,
  )
}

export function imagesView(images: readonly ListedImage[], plain: boolean): string {
  const size = (bytes: number) => (plain ? String(bytes) : `${Math.round(bytes / 1024 / 1024)} MiB`)
  return table(
    ['Name', 'Id', 'Size', 'Built', 'Identity'],
    images.map((image) =>
      'reference' in image
        ? [nameOfImage(image), image.id, size(image.bytes), image.builtAt, image.identity]
        : [`(broken: ${image.missing.join(', ')} is gone or damaged)`, image.id, size(image.bytes), '', ''],
    ),
    plain,
  )
}

function nameOfImage({ reference, missing }: ImageInfo): string {
  return missing === undefined ? reference : `${reference} (broken: ${missing.join(', ')} is gone)`
}

export function snapshotsView(snapshots: readonly SnapshotRow[], plain: boolean): string {
  return table(
    ['Machine', 'Snapshot', 'Made', 'Memory', 'Description'],
    snapshots.map(({ machine, name, at, memory, description }) => [
      machine,
      name,
      at,
      memory ? 'yes' : 'no',
      description ?? '',
    ]),
    plain,
  )
}

export function templatesView(
  templates: readonly { readonly name: string; readonly summary: string }[],
  plain: boolean,
): string {
  return table(
    ['Template', 'Content'],
    templates.map(({ name, summary }) => [name, summary]),
    plain,
  )
}

export function hydraUsersView(users: readonly HydraUserView[], plain: boolean): string {
  return table(
    ['User', 'Full name', 'Mail', 'Roles', 'In the expression', 'Notes'],
    users.map(({ name, fullName, emailAddress, roles, named, canLogin }) => [
      name,
      fullName,
      emailAddress,
      roles.join(', '),
      named ? 'yes' : 'no',
      canLogin ? '' : 'has no password and cannot log in',
    ]),
    plain,
  )
}

/** Formats the findings about the host, each with the command that solves the problem. */
export function findingsView(findings: readonly Finding[], style: Style, plain: boolean): string {
  if (plain) return plainTable(findings.map(({ level, id, what, mend }) => [level, id, what, mend ?? '']))
  const paints = { ok: style.good, note: style.warn, problem: style.bad }
  return findings
    .flatMap(({ level, id, what, mend }) => [
      `${paints[level](level.padEnd(7))}  ${style.strong(printable(id))}: ${printable(what)}`,
      ...(mend === undefined ? [] : [`         repair: ${printable(mend)}`]),
    ])
    .join('\n')
}

function table(titles: readonly string[], rows: readonly Row[], plain: boolean): string {
  return plain
    ? plainTable(rows)
    : boxTable(
        titles.map((title) => ({ title })),
        rows,
      )
}

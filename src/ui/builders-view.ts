import type { BuilderRow, BuildWhy } from '../core/reports.js'
import { printable } from './printable.js'
import type { Style } from './style.js'
import { boxTable, plainTable, type Row } from './table.js'

/** Formats every builder with a machine that builds there. */
export function buildersView(
  rows: readonly BuilderRow[],
  { style, plain }: { style: Style; plain: boolean },
): string {
  const cells = rows.map((row): Row => {
    const { builder, usedBy, host, port, systems, maxJobs, supportedFeatures, mandatoryFeatures } = row
    const optional = supportedFeatures.filter((feature) => !mandatoryFeatures.includes(feature))
    return [
      builder,
      usedBy,
      row.drained ? { text: 'drained', paint: style.warn } : { text: 'in use', paint: style.good },
      port === 22 ? host : `${host}:${port}`,
      systems.join(', '),
      String(maxJobs),
      [...optional, ...mandatoryFeatures.map((feature) => `${feature} (required)`)].join(', '),
    ]
  })
  if (plain) return plainTable(cells)
  const titles = ['Builder', 'For', 'State', 'Address', 'Systems', 'Jobs', 'Features']
  return boxTable(
    titles.map((title) => ({ title })),
    cells,
  )
}

/** Formats the one cause that keeps a derivation from being built. */
export function whyView(why: BuildWhy, style: Style): string {
  const { derivation, where, system, features, hindered, cause, line, detail, remedy, also } = why
  const demands = features.length === 0 ? system : `${system} with ${features.join(', ')}`
  const shown = printable(cause)
  return [
    printable(`${derivation} requires ${demands}`),
    `${where}: ${hindered ? style.bad(shown) : style.good(shown)}`,
    ...[
      ...(line === undefined ? [] : [`  line: ${line}`]),
      ...(detail === undefined ? [] : ['  Nix says:', ...detail.split('\n').map((each) => `    ${each}`)]),
      ...(remedy === undefined ? [] : [`  remedy: ${remedy}`]),
      ...also.map((each) => `  also: ${each}`),
    ].map(printable),
  ].join('\n')
}

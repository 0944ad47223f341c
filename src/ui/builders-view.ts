import type { BuilderRow } from '../core/reports.js'
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

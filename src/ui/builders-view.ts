import { describeAge } from '../core/ages.js'
import type { BuilderRow, BuildWhy } from '../core/reports.js'
import { printable } from './printable.js'
import type { Style } from './style.js'
import { boxTable, plainTable, type Row } from './table.js'

/** Formats every builder, each with a machine that uses the builder. */
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
      stateOf(row, style),
      port === 22 ? host : `${host}:${port}`,
      systems.join(', '),
      String(maxJobs),
      [...optional, ...mandatoryFeatures.map((feature) => `${feature} (required)`)].join(', '),
      buildsOf(row),
    ]
  })
  if (plain) return plainTable(cells)
  const titles = ['Builder', 'For', 'State', 'Address', 'Systems', 'Jobs', 'Features', 'Builds now']
  return boxTable(
    titles.map((title) => ({ title })),
    cells,
  )
}

function stateOf({ drained, steps }: BuilderRow, style: Style): Exclude<Row[number], string> {
  if (steps?.frozen === true) return { text: 'frozen?', paint: style.bad }
  return drained ? { text: 'drained', paint: style.warn } : { text: 'in use', paint: style.good }
}

/** Formats the running builds: `2, the oldest for 3 hours`. A question mark means that the number is not known. */
function buildsOf({ steps }: BuilderRow): string {
  if (steps === undefined) return '?'
  const { count, oldest } = steps
  if (count === 0) return 'none'
  return count === 1 ? `1, for ${describeAge(oldest)}` : `${count}, the oldest for ${describeAge(oldest)}`
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

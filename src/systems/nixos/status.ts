import type { SystemStatus } from '../../core/reports.js'
import { readUpdateResult } from '../../core/update-result.js'
import type { NixosSurvey } from './survey.js'

/** Builds the status report of a machine from a look at the machine. */
export function statusOf(seen: NixosSurvey): SystemStatus {
  const autoUpdate = readUpdateResult(seen.autoUpdate)
  return {
    ...(autoUpdate === undefined ? {} : { autoUpdate }),
    running: seen.current,
    booted: seen.booted,
    bootDefault: seen.bootDefault,
    previous: seen.survey.previous,
    generations: seen.generations,
    failedUnits: seen.failedUnits,
    restartsOwed: seen.restartsOwed,
    leftovers: seen.leftovers,
    notes: notesOf(seen),
  }
}

function notesOf(seen: NixosSurvey): string[] {
  const { bootDefault, current, leftovers, menuPending, armed, restartsOwed, restarts } = seen
  const awaits = bootDefault !== undefined && bootDefault !== current
  return [
    ...(seen.survey.rebootReason === undefined ? [] : [seen.survey.rebootReason]),
    ...(awaits ? [`the next boot starts ${bootDefault}, and not the system that runs`] : []),
    ...armed.map((run) => `the activation of run ${run} waits to be confirmed`),
    ...(leftovers.length === 0
      ? []
      : [`an interrupted switch left ${leftovers.join(', ')}; the next deploy fixes that`]),
    ...(menuPending ? ['the boot menu may lack the newest system; the next deploy fixes that'] : []),
    ...(restartsOwed.length === 0 ? [] : [`old code runs until a restart: ${restartsOwed.join(', ')}`]),
    ...(restarts.size === 0
      ? []
      : [`restarted by systemd: ${[...restarts].map(([unit, count]) => `${unit} (${count})`).join(', ')}`]),
  ]
}

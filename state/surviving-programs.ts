import { locked } from '../src/core/errors.js'
import { pause } from '../src/core/pause.js'
import type { Run } from '../src/core/run.js'
import { programsOf, type StartedProgram, stillRuns } from '../src/core/started-programs.js'
import type { Holder } from './holder.js'

/** The longest wait for programs. Most programs end within seconds, but a copy of a large disk takes minutes. */
export const usualSurvivorsMs = 10 * 60_000

/** The longest wait for a process without arguments, which normally has its arguments within milliseconds. */
const startingMs = 5_000
const pauseMs = 50

/**
 * Waits for the programs of a dead holder. Killing hydra-ops does not end its programs, and two programs would then
 * change the same machine at once.
 */
export async function waitForSurvivors(
  holder: Holder,
  deployment: string,
  run: Run,
  waitMs: number,
): Promise<void> {
  const begun = Date.now()
  const waited = () => Date.now() - begun
  let said: string | undefined
  for (;;) {
    const { programs, starting } = programsOf(holder)
    if (programs.length === 0 && !(starting && waited() < startingMs)) return
    const [first] = programs
    if (first !== undefined) {
      const sentence = `${named(programs)}, which a killed command started: ${holder.command}`
      if (waited() >= waitMs) throw stillChanged(deployment, sentence, programs, waitMs)
      if (said !== sentence) run.log(`waiting for ${sentence}`)
      said = sentence
    }
    do await pause(pauseMs, run.signal)
    while (first !== undefined && stillRuns(first) && waited() < waitMs)
  }
}

function named(programs: readonly StartedProgram[]): string {
  return programs.map(({ name, pid }) => `${name} (pid ${pid})`).join(' and ')
}

function stillChanged(
  deployment: string,
  sentence: string,
  programs: readonly StartedProgram[],
  waitMs: number,
): Error {
  const kill = `kill ${programs.map(({ pid }) => pid).join(' ')}`
  return locked(
    `deployment '${deployment}' is still being changed by ${sentence} (waited ${waitMs / 1000} s)`,
    {
      hint: `wait until ${programs.length === 1 ? 'that program ends' : 'those programs end'}, or run: ${kill}; then try again`,
    },
  )
}

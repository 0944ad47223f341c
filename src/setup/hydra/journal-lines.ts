/** Names of builds and jobsets, as Hydra's services write them (recorded, and read in its source). */
const derivation = /[^\s/'"‘’`]+\.drv\b/g
const jobset = /‘([^\s’]+) \(jobset#\d+\)’|(?:^|\bbuild \d+ )\(([^\s():]+:[^\s():]+)(?::[^\s()]+)?\)/g
const buildNumber = /\bbuild \d+\b/
const failedStep = /^possibly transient failure building ‘/

/** Finds the derivations and jobsets that a line names. */
function namesIn(line: string): string[] {
  const derivations = [...line.matchAll(derivation)].map(([name]) => name)
  return [...derivations, ...[...line.matchAll(jobset)].map(([, of, within]) => of ?? within ?? '')]
}

/** The build for which a journal is read. */
export interface ReadFor {
  /** End of the derivation's name: `hydra-ops-probe-20261128T140000000Z`. */
  readonly derivation: string
  /** Jobset as `PROJECT:JOBSET`. */
  readonly jobset: string
}

function isOf(name: string, wanted: ReadFor | undefined): boolean {
  return name === wanted?.jobset || (wanted !== undefined && name.endsWith(`${wanted.derivation}.drv`))
}

/**
 * Leaves out lines about other builds and jobsets, whose builder may be broken while all else works. The message of a
 * failed step may span several lines, of which only the first one names the build.
 */
export function linesFor(journal: string, wanted: ReadFor | undefined): string {
  const kept: string[] = []
  let strangerSpeaks = false
  for (const line of journal.split('\n')) {
    const names = namesIn(line)
    const mine = names.some((name) => isOf(name, wanted))
    const strangers = names.length > 0 && !mine
    if (names.length > 0 || buildNumber.test(line)) strangerSpeaks = strangers && failedStep.test(line)
    if (!strangers && !strangerSpeaks) kept.push(line)
  }
  return kept.join('\n')
}

/** Says whether the build's step runs after these lines; `undefined` if the lines do not say. */
export function runsAfter(journal: string, wanted: ReadFor): boolean | undefined {
  let runs: boolean | undefined
  for (const line of linesFor(journal, wanted).split('\n')) {
    if (!line.includes(`${wanted.derivation}.drv`)) continue
    if (line.startsWith('performing step ‘')) runs = true
    else if (failedStep.test(line) || line.startsWith('will retry ‘')) runs = false
  }
  return runs
}

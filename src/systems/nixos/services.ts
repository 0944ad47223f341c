/** State of one service in one sample (target/nixos/switch.sh). */
export interface ServiceSample {
  /** Number of the sample; `before` precedes the switch. */
  readonly at: string
  readonly unit: string
  readonly restarts: number
  /** SubState of systemd: `running`, `auto-restart`, `failed` … */
  readonly state: string
  /** Result of systemd: `success`, `exit-code` … */
  readonly result: string
}

export interface ServiceVerdict {
  /** Services that failed, or that systemd keeps restarting. */
  readonly bad: readonly string[]
  /** Sentences about the observed services, bad and good. */
  readonly notes: readonly string[]
}

/** Reads the lines of samples. */
export function readSamples(lines: readonly string[]): ServiceSample[] {
  return lines.flatMap((line) => {
    const [at = '', unit = '', restarts = '', state = '', result = ''] = line.split(' ')
    return unit === '' ? [] : [{ at, unit, restarts: Number(restarts), state, result }]
  })
}

/**
 * Judges services after a switch. A switch returns 0 for a service in a crash loop, and such a service looks healthy
 * while it runs. The verdict therefore depends on the number of restarts and on the state in the last sample. A service
 * that always exits with success counts as periodic. A service that was already bad before the switch is not the
 * switch's fault.
 */
export function judgeServices(
  before: readonly ServiceSample[],
  samples: readonly ServiceSample[],
): ServiceVerdict {
  const bad: string[] = []
  const notes: string[] = []
  const lastAt = samples.at(-1)?.at
  for (const unit of new Set(samples.map((each) => each.unit))) {
    const own = samples.filter((each) => each.unit === unit)
    const last = own.at(-1)
    const fault = faultOf(own, last !== undefined && last.at === lastAt ? last : undefined)
    if (fault === undefined) continue
    if (!fault.bad) notes.push(fault.text)
    else if (before.some((each) => each.unit === unit && isBad(each))) {
      notes.push(`${fault.text}; the service was in trouble before the switch already`)
    } else {
      bad.push(unit)
      notes.push(fault.text)
    }
  }
  return { bad, notes }
}

function faultOf(
  own: readonly ServiceSample[],
  last: ServiceSample | undefined,
): { readonly bad: boolean; readonly text: string } | undefined {
  const [first] = own
  if (first === undefined) return undefined
  // Samples list a service only after its first restart. A service that is missing in the first sample had no restart.
  const known = first.at === '0' ? first.restarts : 0
  const rise = Math.max(...own.map(({ restarts }) => restarts)) - known
  const peaceful = own.every(({ result }) => result === 'success')
  if (last?.state === 'failed') return { bad: true, text: `${first.unit} failed (${last.result})` }
  if (rise >= 2 && !peaceful)
    return { bad: true, text: `${first.unit} restarted ${rise} times after the switch` }
  if (last?.state === 'auto-restart' && last.result !== 'success')
    return { bad: true, text: `${first.unit} waits for its next start after a failure (${last.result})` }
  if (rise >= 2)
    return { bad: false, text: `${first.unit} restarted ${rise} times, each time after a success` }
  return undefined
}

function isBad({ state, result }: ServiceSample): boolean {
  return state === 'failed' || (state === 'auto-restart' && result !== 'success')
}

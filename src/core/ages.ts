import { usageError } from './errors.js'

const units = [
  ['day', 86_400],
  ['hour', 3_600],
  ['minute', 60],
  ['second', 1],
] as const

/** Describes a duration in its largest unit, such as `2 days`. */
export function describeAge(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [name, size] = units.find(([, each]) => whole >= each) ?? ['second', 1]
  const count = Math.floor(whole / size)
  return `${count} ${name}${count === 1 ? '' : 's'}`
}

/** Describes the time since a moment in its largest unit, such as `2 days ago`. */
export function ago(now: Date, at: string): string {
  return `${describeAge((now.getTime() - Date.parse(at)) / 1000)} ago`
}

const letters: Readonly<Record<string, number>> = { w: 604_800, d: 86_400, h: 3_600, m: 60, s: 1 }

/** Parses a duration such as `36h` or `2d`, in seconds. A number without a unit is refused as ambiguous. */
export function readAge(text: string, flag: string): number {
  const [, number = '', unit = ''] = /^(\d{1,6})([wdhms])$/.exec(text.trim()) ?? []
  const size = letters[unit]
  if (size === undefined || Number(number) === 0)
    throw usageError(`${flag}: '${text}' is not a length of time`, {
      hint: 'write a number and a unit: 90m, 36h, 2d or 1w',
    })
  return Number(number) * size
}

/** A field of a crontab(5) line. */
interface Field {
  readonly name: string
  readonly least: number
  readonly most: number
  /** Names for the field's numbers, starting with the lowest number. */
  readonly words: readonly string[]
}

const monthWords = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const dayWords = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat']

const minutes: Field = { name: 'minute', least: 0, most: 59, words: [] }
const hours: Field = { name: 'hour', least: 0, most: 23, words: [] }
const days: Field = { name: 'day of the month', least: 1, most: 31, words: [] }
const months: Field = { name: 'month', least: 1, most: 12, words: monthWords }
/** The field for days of the week; both 0 and 7 are Sunday. */
const weekdays: Field = { name: 'day of the week', least: 0, most: 7, words: dayWords }

/** Shorthand times that cron itself defines. */
const lines: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
}

/** The calendar events that are equivalent to a crontab(5) line, or the problem with the line. */
export type Translated = { readonly events: readonly string[] } | { readonly problem: string }

/** Distinguishes a crontab(5) line from a calendar event, which has at most four words and begins with no "@word". */
export function looksLikeCron(text: string): boolean {
  return /^@[a-z]/i.test(text) || text.split(/\s+/).length > 4
}

/** Translates the times of a crontab(5) line to calendar events of systemd.time(7). */
export function translateCron(text: string): Translated {
  const line = text.startsWith('@') ? lines[text.toLowerCase()] : text
  const known = Object.keys(lines).join(', ')
  if (line === undefined)
    return { problem: `${text} is not a recurring time of cron; the recurring times are ${known}` }
  const [minute, hour, day, month, weekday, ...more] = line.split(/\s+/)
  if (
    minute === undefined ||
    hour === undefined ||
    day === undefined ||
    month === undefined ||
    weekday === undefined ||
    more.length > 0
  ) {
    return { problem: 'a line of cron has five fields here, without a user and a command' }
  }
  try {
    const time = `${listOf(numbers(hour, hours), hours.least, hours.most)}:${listOf(numbers(minute, minutes), minutes.least, minutes.most)}:00`
    const inMonth = listOf(numbers(month, months), months.least, months.most)
    return { events: dates(day, weekday).map((date) => `${date(inMonth)} ${time}`) }
  } catch (error) {
    if (error instanceof NotCron) return { problem: error.message }
    throw error
  }
}

/** An error that is always caught within this file. */
class NotCron extends Error {}

/**
 * Returns the dates of both day fields. A day needs to match only one field if neither field begins with `*`
 * (crontab(5)). Such a line takes two calendar events.
 */
function dates(day: string, weekday: string): ((month: string) => string)[] {
  const ofMonth = numbers(day, days)
  const ofWeek = new Set([...numbers(weekday, weekdays)].map((number) => number % 7))
  const starred = [day, weekday].map((field) => field.startsWith('*'))
  for (const field of [day, weekday])
    if (field.lastIndexOf('*') > 0 && !(day === '*' || weekday === '*'))
      throw new NotCron(
        `${JSON.stringify(field)}: implementations of cron differ about a "*" after the first character; remove that "*"`,
      )
  const monthDays = listOf(ofMonth, days.least, days.most)
  const weekDays = weekdayText(ofWeek)
  const both = (month: string) => `${weekDays}*-${month}-${monthDays}`
  if (starred.includes(true)) return [both]
  if (monthDays === '*' || weekDays === '') return [(month) => `*-${month}-*`]
  return [(month) => `*-${month}-${monthDays}`, (month) => `${weekDays}*-${month}-*`]
}

/** Returns the numbers that a field stands for. */
function numbers(field: string, kind: Field): Set<number> {
  const wrong = (why: string) => new NotCron(`${kind.name} ${JSON.stringify(field)}: ${why}`)
  const number = (text: string): number => {
    const word = kind.words.indexOf(text.toLowerCase())
    const value = word >= 0 ? word + kind.least : /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (Number.isNaN(value)) throw wrong(`expected a number${kind.words.length > 0 ? ' or a name' : ''}`)
    if (value < kind.least || value > kind.most) throw wrong(`expected ${kind.least} to ${kind.most}`)
    return value
  }
  const found = field.split(',').flatMap((part) => {
    const [range = '', step, ...rest] = part.split('/')
    const [first = '', last, ...more] = range.split('-')
    if (rest.length > 0 || more.length > 0)
      throw wrong('expected numbers, ranges such as 1-5, and steps such as */2')
    if (step !== undefined && !/^0*[1-9]\d*$/.test(step)) throw wrong('a step is a number of at least 1')
    if (step !== undefined && range !== '*' && last === undefined)
      throw wrong(`a step needs a range: write ${range}-${kind.most}/${step}`)
    const from = range === '*' ? kind.least : number(first)
    const to = range === '*' ? kind.most : last === undefined ? from : number(last)
    if (last?.toLowerCase() === 'sun')
      throw wrong('implementations of cron differ about a range that ends with Sunday; write two ranges')
    if (from > to) throw wrong(`a range must go upwards; write ${range} as two ranges`)
    const by = Number(step ?? 1)
    return Array.from({ length: Math.floor((to - from) / by) + 1 }, (_, index) => from + index * by)
  })
  return new Set(found)
}

/** Formats numbers as systemd writes them: as `*`, as even steps, or as runs. */
function listOf(set: ReadonlySet<number>, least: number, most: number): string {
  const all = [...set].sort((a, b) => a - b)
  const [first = least, second = least] = all
  if (all.length === most - least + 1) return '*'
  const last = all.at(-1) ?? first
  const step = second - first
  const isEven = all.every((number, index) => number === first + index * step)
  // The range always has an end. Otherwise systemd 252 would go from 29 December of `*-*-1/4` to 5 January
  // (measured).
  if (all.length > 2 && step > 1 && isEven) return `${first}..${last}/${step}`
  return runs(all, String)
}

/** Formats days of the week with a trailing blank; returns an empty text for all seven days. */
function weekdayText(set: ReadonlySet<number>): string {
  const names = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']
  // systemd's week starts on Monday.
  const all = [...set].map((day) => (day + 6) % 7).sort((a, b) => a - b)
  return all.length === names.length ? '' : `${runs(all, (day) => names[day] ?? '')} `
}

function runs(sorted: readonly number[], nameOf: (number: number) => string): string {
  const parts: [number, number][] = []
  for (const number of sorted) {
    const open = parts.at(-1)
    if (open !== undefined && open[1] + 1 === number) open[1] = number
    else parts.push([number, number])
  }
  return parts
    .flatMap(([from, to]) => {
      if (from === to) return [nameOf(from)]
      return to === from + 1 ? [nameOf(from), nameOf(to)] : [`${nameOf(from)}..${nameOf(to)}`]
    })
    .join(',')
}

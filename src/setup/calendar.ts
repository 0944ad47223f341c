const months = 12
const weekdays = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun']

/** cron's own words for times. */
const words: Readonly<Record<string, string>> = {
  '@yearly': 'yearly',
  '@annually': 'yearly',
  '@monthly': 'monthly',
  '@weekly': 'weekly',
  '@daily': 'daily',
  '@midnight': 'daily',
  '@hourly': 'hourly',
}

/**
 * A calendar event of systemd.time(7); a line of crontab(5) is translated: systemd would refuse it, and the timer
 * never go off. What is neither is left to systemd, which says what is wrong with it.
 */
export function calendarOf(dates: string): string {
  const text = dates.trim()
  const word = words[text]
  if (word !== undefined) return word
  const fields = text.split(/\s+/)
  const [minute, hour, day, month, weekday] = fields
  if (fields.length !== 5 || minute === undefined || hour === undefined) return dates
  const parts = {
    minute: numbers(minute, 0, 59),
    hour: numbers(hour, 0, 23),
    day: numbers(day ?? '', 1, 31),
    month: numbers(month ?? '', 1, months),
    weekday: daysOfWeek(weekday ?? ''),
  }
  if (Object.values(parts).includes(undefined)) return dates
  // cron takes either of the two when both are given, which no calendar event can say.
  if (parts.weekday !== '*' && parts.day !== '*') return dates
  const days = parts.weekday === '*' ? '' : `${parts.weekday} `
  return `${days}*-${parts.month}-${parts.day} ${parts.hour}:${parts.minute}:00`
}

/** `*`, `5`, `1,2`, `1-5`, `*\/10`, `0-30/10` as systemd writes it; undefined = no field of cron. */
function numbers(field: string, least: number, most: number): string | undefined {
  const parts = field.split(',').map((part) => {
    const [, range = '', from = '', to = '', step] =
      /^(\*|(\d{1,2})(?:-(\d{1,2}))?)(?:\/(\d{1,2}))?$/.exec(part) ?? []
    if (range === '') return undefined
    if ([from, to].some((each) => each !== '' && (Number(each) < least || Number(each) > most)))
      return undefined
    if (step === undefined) return to === '' ? range : `${from}..${to}`
    return range === '*' ? `${least}/${step}` : to === '' ? undefined : `${from}..${to}/${step}`
  })
  return parts.includes(undefined) ? undefined : parts.join(',')
}

function daysOfWeek(field: string): string | undefined {
  if (field === '*') return '*'
  const name = (day: string) =>
    /^[0-7]$/.test(day)
      ? weekdays[Number(day)]
      : weekdays.find((each) => each.toLowerCase() === day.toLowerCase())
  const parts = field.split(',').map((part) => {
    const days = part.split('-').map(name)
    return days.length > 2 || days.includes(undefined) ? undefined : days.join('..')
  })
  return parts.includes(undefined) ? undefined : parts.join(',')
}

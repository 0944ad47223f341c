import * as z from 'zod'
import { looksLikeCron, type Translated, translateCron } from './cron-line.js'

const expected =
  'expected a calendar event of systemd.time(7), such as "weekly" or "03:15", or a line of cron'

/**
 * Parses a recurring time into calendar events of systemd.time(7), or returns why the text is invalid. A crontab(5)
 * line is translated, because systemd refuses such lines.
 */
export function calendarOf(dates: string): Translated {
  const text = dates.trim()
  if (looksLikeCron(text)) return translateCron(text)
  return isCalendarEvent(text) ? { events: [text] } : { problem: `${JSON.stringify(text)}: ${expected}` }
}

/** A recurring time of a timer, as an option accepts it. */
export const RecurringTime = z.string().superRefine((text, context) => {
  const read = calendarOf(text)
  if ('problem' in read) context.addIssue({ code: 'custom', message: read.problem })
})

/** Returns the calendar events of a text that has already been validated. */
export function calendarEvents(dates: string): readonly string[] {
  const read = calendarOf(dates)
  return 'events' in read ? read.events : [dates]
}

const words =
  /^(?:minutely|hourly|daily|monthly|weekly|yearly|annually|anually|quarterly|(?:semi|bi)-?annually)$/i
const dayName = '(?:mon|tue|wed|thu|fri|sat|sun|monday|tuesday|wednesday|thursday|friday|saturday|sunday)'
const weekdays = new RegExp(
  `^${dayName}(?:(?:\\.\\.|-)${dayName})?(?:,${dayName}(?:(?:\\.\\.|-)${dayName})?)*,?$`,
  'i',
)
/** The form of a time zone's name. The set-up task checks the name on the machine, which has the list of zones. */
const zone = /^[A-Za-z][A-Za-z0-9_+-]*(?:\/[A-Za-z0-9_+-]+)*$/

function isZone(text: string): boolean {
  return zone.test(text) && !words.test(text) && !weekdays.test(text)
}

/** Tells whether systemd would accept a text. Forms that systemd accepts without documenting them are refused. */
export function isCalendarEvent(text: string): boolean {
  const parts = text.split(/ +/)
  const last = parts.at(-1) ?? ''
  if (parts.length > 1 && isZone(last)) parts.pop()
  if (parts.length === 1 && words.test(parts[0] ?? '')) return true
  if (weekdays.test(parts[0] ?? '')) {
    const names = parts.shift() ?? ''
    // A trailing comma would belong to the next part.
    if (!rangesGoUp(names) || (names.endsWith(',') && parts.length === 0)) return false
    if (parts.length === 0) return true
  }
  const [first = '', second, ...more] = parts
  if (more.length > 0) return false
  if (second === undefined) return isDate(first) || isTime(first)
  return isDate(first) && isTime(second)
}

function rangesGoUp(names: string): boolean {
  const order = ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun']
  const position = (name: string) => order.indexOf(name.slice(0, 3).toLowerCase())
  return names.split(',').every((part) => {
    const [from, to] = part.split(/\.\.|-/)
    return from === undefined || to === undefined || position(from) <= position(to)
  })
}

function isDate(text: string): boolean {
  const [, year, month = '', sign, day = ''] = /^(?:([^-~]+)-)?([^-~]+)([-~])([^-~]+)$/.exec(text) ?? []
  const isYear = year === undefined || isChain(year, 1970, 2199) || /^\d{1,2}$/.test(year)
  return isYear && isChain(month, 1, 12) && isChain(day, 1, sign === '~' ? 28 : 31)
}

function isTime(text: string): boolean {
  const [hour = '', minute = '', second = '0', ...more] = text.split(':')
  const whole = second.replaceAll(/(?<=\d)\.\d{1,6}/g, '')
  return more.length === 0 && isChain(hour, 0, 23) && isChain(minute, 0, 59) && isChain(whole, 0, 59)
}

/** Tells whether a text is `*`, or consists of numbers, ranges and steps within bounds. */
function isChain(text: string, least: number, most: number): boolean {
  if (text === '*') return true
  return text.split(',').every((part) => {
    const [, from, to, step] = /^(\d{1,4})(?:\.\.(\d{1,4}))?(?:\/(\d{1,4}))?$/.exec(part) ?? []
    if (from === undefined) return false
    const start = Number(from)
    const end = to === undefined ? most : Number(to)
    const by = step === undefined ? (to === undefined ? 0 : 1) : Number(step)
    return start >= least && end <= most && (step === undefined || by > 0) && start + by <= end
  })
}

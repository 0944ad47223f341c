import { execFileSync, spawnSync } from 'node:child_process'
import { Cron } from 'croner'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { calendarOf, isCalendarEvent } from '../../src/core/calendar.js'

/** The number of compared times. */
const compared = 5

function part(least: number, most: number, words: readonly string[]): fc.Arbitrary<string> {
  const number = fc.integer({ min: least, max: most })
  const shown = (value: number) =>
    fc.constantFrom(
      String(value),
      ...(words[value - least] === undefined ? [] : [words[value - least] ?? '']),
    )
  const range = fc.tuple(number, number).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const)
  return fc.oneof(
    number.chain(shown),
    // Cron implementations disagree about `sun` at the end of a range, so hydra-ops refuses the name there.
    range.chain(([from, to]) =>
      fc.tuple(shown(from), shown(to)).map(([a, b]) => `${a}-${b === 'sun' ? to : b}`),
    ),
    range.chain(([from, to]) =>
      fc.integer({ min: 1, max: Math.max(1, to - from) }).map((step) => `${from}-${to}/${step}`),
    ),
  )
}

function field(least: number, most: number, words: readonly string[] = []): fc.Arbitrary<string> {
  return fc.oneof(
    fc.constant('*'),
    fc.integer({ min: 1, max: most - least }).map((step) => `*/${step}`),
    fc.array(part(least, most, words), { minLength: 1, maxLength: 3 }).map((parts) => parts.join(',')),
  )
}

const months = ['jan', 'Feb', 'MAR', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const weekdays = ['sun', 'Mon', 'TUE', 'wed', 'thu', 'fri', 'sat']
const cronLine = fc
  .tuple(field(0, 59), field(0, 23), field(1, 31), field(1, 12, months), field(0, 7, weekdays))
  .map((fields) => fields.join(' '))

/** Returns the next times of calendar events after a moment, as systemd computes them. */
function bySystemd(events: readonly string[], after: Date): number[] {
  const base = after
    .toISOString()
    .replace('T', ' ')
    .replace(/\.\d+Z/, ' UTC')
  const args = ['calendar', `--iterations=${compared}`, `--base-time=${base}`, '--', ...events]
  const said = execFileSync('systemd-analyze', args, {
    encoding: 'utf8',
    env: { ...process.env, TZ: 'UTC', LC_ALL: 'C' },
  })
  const times = [...said.matchAll(/(?:Next elapse|Iter(?:ation|\.) #\d+): \w+ (\S+) (\S+) UTC/g)].map(
    ([, day, time]) => Date.parse(`${day}T${time}Z`),
  )
  return [...new Set(times)].sort((a, b) => a - b).slice(0, compared)
}

/**
 * Returns the next times of a cron line after a moment. A day field that begins with "*" restricts the
 * other day field (crontab(5)).
 */
function byCron(line: string, after: Date): number[] {
  const [, , day = '', , weekday = ''] = line.split(' ')
  const domAndDow = day.startsWith('*') || weekday.startsWith('*')
  return new Cron(line, { timezone: 'UTC', domAndDow, paused: true })
    .nextRuns(compared, after)
    .map((time) => time.getTime())
}

const moment = fc.date({ min: new Date('2020-01-01'), max: new Date('2035-01-01'), noInvalidDate: true })

it('a line of cron fires at the times of cron, whatever its fields', () => {
  fc.assert(
    fc.property(cronLine, moment, (line, time) => {
      const after = new Date(Math.floor(time.getTime() / 1_000) * 1_000)
      const read = calendarOf(line)
      if ('problem' in read) throw new Error(`${line} was refused: ${read.problem}`)
      expect([line, ...bySystemd(read.events, after)]).toEqual([line, ...byCron(line, after)])
    }),
    {
      numRuns: 300,
      examples: [
        ['0 0 * * 0-2', new Date('2024-02-28')],
        ['0 0 13 * Fri', new Date('2024-02-28')],
        ['0 0 */4 * *', new Date('2034-12-28')],
      ],
    },
  )
}, 120_000)

const piece = fc.oneof(
  fc.constantFrom(
    '*',
    'mon',
    'Tue..Thu',
    'Fri..Mon',
    'sat,sun',
    'daily',
    'UTC',
    'CET',
    'GMT+0',
    'weekly',
    '2024-02-29',
    '*-*-*',
    '12-24',
  ),
  fc.tuple(fc.nat(65), fc.nat(65)).map(([hour, minute]) => `${hour}:${minute}`),
  fc.tuple(fc.nat(30), fc.nat(30), fc.nat(35)).map(([from, to, by]) => `${from}..${to}/${by}:00`),
  fc.tuple(fc.nat(70), fc.nat(70)).map(([from, by]) => `*:${from}/${by}`),
  fc.tuple(fc.nat(14), fc.nat(33)).map(([month, day]) => `*-${month}-${day}`),
  fc.tuple(fc.nat(14), fc.nat(33)).map(([month, day]) => `${month}~${day}`),
)

it('every calendar event that is accepted here is accepted by systemd', () => {
  fc.assert(
    fc.property(fc.array(piece, { minLength: 1, maxLength: 3 }), (pieces) => {
      const text = pieces.join(' ')
      fc.pre(isCalendarEvent(text))
      expect([text, spawnSync('systemd-analyze', ['calendar', '--', text]).status]).toEqual([text, 0])
    }),
    { numRuns: 300 },
  )
}, 120_000)

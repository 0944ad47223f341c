import { describe, expect, it } from 'vitest'
import { calendarOf } from '../../src/setup/calendar.js'

describe('a time of garbage collection', () => {
  it.each([
    ['weekly', 'weekly'],
    ['03:15', '03:15'],
    ['Mon *-*-* 03:15:00', 'Mon *-*-* 03:15:00'],
    ['2,14:15', '2,14:15'],
  ])('is left to systemd: %s', (given, calendar) => {
    expect(calendarOf(given)).toBe(calendar)
  })

  it.each([
    ['15 3 * * *', '*-*-* 3:15:00'],
    ['*/10 * * * *', '*-*-* *:0/10:00'],
    ['0 2,14 * * *', '*-*-* 2,14:0:00'],
    ['0 0-6/2 1 * *', '*-*-1 0..6/2:0:00'],
    ['30 4 * 1 Mon-Fri', 'Mon..Fri *-1-* 4:30:00'],
    ['30 4 * * 0', 'Sun *-*-* 4:30:00'],
    ['30 4 * * 1,7', 'Mon,Sun *-*-* 4:30:00'],
    ['@daily', 'daily'],
  ])('is translated from a cron line: %s', (given, calendar) => {
    expect(calendarOf(given)).toBe(calendar)
  })

  it.each(['99 3 * * *', '15 3 1 * Mon', 'a b c d e', '5/2 * * * *'])(
    'is handed on when it is neither, for systemd to say what is wrong: %s',
    (given) => {
      expect(calendarOf(given)).toBe(given)
    },
  )
})

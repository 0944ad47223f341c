import { describe, expect, it } from 'vitest'
import { calendarOf } from '../../src/core/calendar.js'
import { DebianOptions } from '../../src/core/debian-options.js'

describe('a calendar event of systemd', () => {
  it.each([
    'weekly',
    'Semi-Annually',
    'weekly Pacific/Auckland',
    '03:15',
    'Mon *-*-* 03:15:00',
    '2,14:15',
    'Wed, 17:48',
    'Sat,Thu,Mon..Wed,Sat..Sun',
    'Mon,Sun 12-*-* 2,1:23',
    'Wed..Sat,Tue 12-10-15 1:2:3',
    '*-02~03',
    '2003-02..04-05',
    '05:40:23.42/3.17',
    '*:2/3',
    '2003-03-05 05:40 UTC',
    '03:15 CET',
    '*-*-* 03:15 GMT',
    'weekly EST5EDT',
    'Mon 03:15 Etc/GMT+1',
    '03:15 GMT+0',
  ])('is left as it is: %s', (given) => {
    expect(calendarOf(given)).toEqual({ events: [given] })
  })

  it.each([
    '',
    'wekly',
    '25:00',
    '*-13-*',
    '3:15am',
    'Tue..Mon',
    '*/5:00',
    '0/0:00',
    '03:15 CESTX/',
    '03:15 03:16',
    '03:15 ../CET',
    '03:15 Mon',
    '03:15 Mon-Fri',
    '03:15 daily',
    '03:15 C%T',
    '10..5:00',
  ])('is refused when systemd would refuse it: %j', (given) => {
    expect(calendarOf(given)).toEqual({ problem: expect.stringContaining('expected a calendar event') })
  })
})

describe('a line of cron', () => {
  it.each([
    ['15 3 * * *', '*-*-* 3:15:00'],
    ['*/10 * * * *', '*-*-* *:0..50/10:00'],
    ['0 2,14 * * *', '*-*-* 2,14:0:00'],
    ['0 0-6/2 1 * *', '*-*-1 0..6/2:0:00'],
    ['30 4 * 1 Mon-Fri', 'Mon..Fri *-1-* 4:30:00'],
    ['30 4 * * 0', 'Sun *-*-* 4:30:00'],
    ['30 4 * * 1,7', 'Mon,Sun *-*-* 4:30:00'],
    ['30 4 * * 0-2', 'Mon,Tue,Sun *-*-* 4:30:00'],
    ['30 4 * * sun-TUE', 'Mon,Tue,Sun *-*-* 4:30:00'],
    ['30 4 * * 5-7', 'Fri..Sun *-*-* 4:30:00'],
    ['30 4 * jan-Mar,dec *', '*-1..3,12-* 4:30:00'],
    ['0-59/20 9-17/4 * * *', '*-*-* 9..17/4:0..40/20:00'],
    ['0-6/7 * * * *', '*-*-* *:0:00'],
    ['0 0 * * 1-7/2', 'Mon,Wed,Fri,Sun *-*-* 0:0:00'],
    ['0 0 */2 * Mon', 'Mon *-*-1..31/2 0:0:00'],
    ['0 0 1-31 * Mon', '*-*-* 0:0:00'],
    ['0 0 13 * 0-6', '*-*-* 0:0:00'],
    ['@weekly', 'Sun *-*-* 0:0:00'],
    ['@Annually', '*-1-1 0:0:00'],
    ['@daily', '*-*-* 0:0:00'],
    ['  5\t4 * * *  ', '*-*-* 4:5:00'],
  ])('is translated: %s', (given, event) => {
    expect(calendarOf(given)).toEqual({ events: [event] })
  })

  it('fires on either kind of day when it restricts both, and becomes two events', () => {
    expect(calendarOf('15 3 1,15 * Fri')).toEqual({ events: ['*-*-1,15 3:15:00', 'Fri *-*-* 3:15:00'] })
  })

  it.each([
    ['99 3 * * *', 'minute "99": expected 0 to 59'],
    ['5/2 * * * *', 'a step needs a range: write 5-59/2'],
    ['*/0 * * * *', 'a step is a number of at least 1'],
    ['0 0 * * Fri-Sun', 'implementations of cron differ about a range that ends with Sunday'],
    ['0 0 * * 6-2', 'a range must go upwards'],
    ['0 22-4 * * *', 'a range must go upwards'],
    ['0 0 5,* * Mon', 'implementations of cron differ about a "*"'],
    ['a b c d e', 'expected a number'],
    ['0 0 * Jänner *', 'expected a number or a name'],
    ['0 0 1,,2 * *', 'expected a number'],
    ['0 0 * * 1-2-3', 'expected numbers, ranges'],
    ['15 3 * * * root', 'five fields'],
    ['@reboot', '@reboot is not a recurring time of cron'],
  ])('is refused when cron would refuse it, or when no calendar event expresses it: %s', (given, why) => {
    expect(calendarOf(given)).toEqual({ problem: expect.stringContaining(why) })
  })
})

it.each(['nix', 'hydra'])('a wrong time of garbage collection is refused in the options of %s', (name) => {
  const parse = (dates: string) => DebianOptions.safeParse({ [name]: { gc: { dates } } }).success
  expect([parse('0 3 * * Sun-Tue'), parse('Mon 03:00'), parse('0 3 * * Fri-Sun'), parse('wekly')]).toEqual([
    true,
    true,
    false,
    false,
  ])
})

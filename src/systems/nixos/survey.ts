import { ownerFile } from '../../core/machine-places.js'
import { StorePath } from '../../core/names.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, type Facts, fact } from '../../remote/run-script.js'
import type { Survey } from '../system.js'
import { awaitsFile, pendingFile, runsFolder } from './places.js'
import { readInhibitors, type SystemFacts } from './system-files.js'

/** Deadline for a survey, which runs many small programs that an emulated guest starts slowly. */
const surveyMs = 3 * 60_000

/** Paths that the look reads, as values for its script. */
export const surveyPlaces = {
  owner_file: ownerFile,
  runs: runsFolder,
  pending: pendingFile,
  awaits: awaitsFile,
}

/** Facts that only a NixOS machine has. */
export interface NixosSurvey {
  readonly survey: Survey
  /** System that runs. */
  readonly current: string | undefined
  readonly booted: string | undefined
  /** System of the newest generation. */
  readonly profile: string | undefined
  /** System that the last kept activation replaced, for a rollback. */
  readonly previous: string | undefined
  readonly generations: readonly { readonly number: number; readonly path: string }[]
  /** System that the boot menu starts; `undefined` for a menu that the look cannot read. */
  readonly bootDefault: string | undefined
  /** Facts of the running system. */
  readonly running: SystemFacts
  /** Facts of the wanted system, if the machine has that system already. */
  readonly wanted: SystemFacts | undefined
  /** Store path of each part of the booted system that only a boot changes. */
  readonly bootedParts: ReadonlyMap<string, string>
  /** Parts that differ between the booted system and the running one, and that only a boot changes. */
  readonly staleParts: readonly string[]
  readonly failedUnits: readonly string[]
  /** Number of restarts by service. */
  readonly restarts: ReadonlyMap<string, number>
  /** Services that still run a program of an older system; only in a report. */
  readonly restartsOwed: readonly string[]
  /** Last result of the automatic update, a line of JSON; only in a report. */
  readonly autoUpdate: string | undefined
  /** Lists of units that an interrupted switch left behind. */
  readonly leftovers: readonly string[]
  /** Whether the boot menu may lack the system of the profile. */
  readonly menuPending: boolean
  /** Runs whose guard waits for a confirmation. */
  readonly armed: readonly string[]
  readonly release: string | undefined
  readonly revision: string | undefined
  readonly trustedUsers: readonly string[]
  /** Free KiB on the file system of /boot. */
  readonly bootFreeKiB: number | undefined
}

/**
 * Reads all facts of a NixOS machine in one command, including the facts of a wanted system that the machine already
 * has. A look for a report also lists services that run old code, and needs no root.
 */
export async function surveyNixos(host: Host, run: Run, wanted = '', report = false): Promise<NixosSurvey> {
  const what = 'read the facts of the machine'
  const values = { ...surveyPlaces, wanted, report }
  return readSurvey(
    await askMachine(
      host,
      { what, script: 'nixos/survey', values, timeoutMs: surveyMs, ...(report ? { asLoginUser: true } : {}) },
      run,
    ),
  )
}

/** Parses the output of the survey script. */
export function readSurvey(facts: Facts): NixosSurvey {
  const one = (name: string): string | undefined => fact(facts, name) || undefined
  const words = (name: string) => fact(facts, name).split(/\s+/).filter(Boolean)
  const all = (name: string) => facts.get(name) ?? []
  const bootId = fact(facts, 'boot_id')
  const freeKiB = Number(fact(facts, 'free_kib'))
  const bootFree = one('boot_free_kib')
  const [current, profile] = [one('current'), one('profile')]
  const leftovers = all('leftover')
  const menuPending = one('pending') !== undefined
  // The deploy of a system that only a boot can enter is complete until that boot. A reboot into a different system
  // makes the deploy due again.
  const awaited = fact(facts, 'awaits') === `${profile} ${bootId}`
  const complete = !menuPending && (awaited || (current === profile && leftovers.length === 0))
  const lines = all('part').map((line) => line.split(' '))
  const staleParts = lines.flatMap(([part = '', booted = '', running = '']) =>
    ![booted, running].some((place) => place === '' || place === '-') && booted !== running ? [part] : [],
  )
  const system = (prefix: string, column: number): SystemFacts => ({
    version: one(`${prefix}version`),
    parts: new Map(lines.flatMap((words) => partOf(words, column))),
    inhibitors: readInhibitors(one(`${prefix}inhibitors`)),
  })
  return {
    survey: {
      bootId,
      systems: words('systems'),
      profile: complete ? profile : undefined,
      running: StorePath.safeParse(current).data,
      previous: StorePath.safeParse(previous(current, profile, awaited, one('previous'))).data,
      owner: one('owner'),
      freeKiB,
      hasNix: facts.has('nix'),
      rebootReason: rebootReason(awaited, staleParts),
      facts: { osRelease: one('os'), bootId, freeBytes: freeKiB * 1024 },
    },
    current,
    booted: one('booted'),
    profile,
    previous: one('previous'),
    generations: all('generation').map((line) => {
      const [number = '', path = ''] = line.split(' ')
      return { number: Number(number), path }
    }),
    bootDefault: one('boot_default'),
    running: system('', 2),
    wanted: one('wanted') === undefined ? undefined : system('wanted_', 3),
    bootedParts: new Map(lines.flatMap((words) => partOf(words, 1))),
    staleParts,
    failedUnits: all('failed'),
    restarts: new Map(
      all('restarted').map((line) => {
        const [unit = '', count = ''] = line.split(' ')
        return [unit, Number(count)] as const
      }),
    ),
    restartsOwed: all('owed'),
    autoUpdate: one('auto_update'),
    leftovers,
    menuPending,
    armed: all('armed'),
    release: one('release'),
    revision: one('revision'),
    trustedUsers: words('trusted_users'),
    bootFreeKiB: bootFree === undefined ? undefined : Number(bootFree),
  }
}

/** Reads one column of a line `NAME BOOTED RUNNING WANTED`; a dash stands for a missing part. */
function partOf(words: readonly string[], column: number): (readonly [string, string])[] {
  const [name = ''] = words
  const place = words[column] ?? ''
  return place === '' || place === '-' ? [] : [[name, place]]
}

/**
 * Returns the system to which a rollback leads: the boot default, if the running system never became the boot default.
 */
function previous(
  current: string | undefined,
  profile: string | undefined,
  awaited: boolean,
  replaced: string | undefined,
): string | undefined {
  return profile !== undefined && profile !== current && !awaited ? profile : replaced
}

function rebootReason(awaited: boolean, staleParts: readonly string[]): string | undefined {
  if (awaited) return 'reboot needed: only a boot can enter the new system'
  if (staleParts.length === 0) return undefined
  return `reboot needed: the machine runs an older ${staleParts.join(', ')} than its system has`
}

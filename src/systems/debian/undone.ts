import { liesAt, unitFile } from '../../core/owned-places.js'
import type { WantedTask } from '../../core/setup-task.js'

/** Lines of the activation program about something removed or put back (nix/target/hydra-ops/activate.pl). */
const undoneLine = /^(file|unit|program|package) (.+) (?:removed|put back as it was before)$/

/** Says whether a line of an activation reports something removed or put back. */
export function tellsOfUndone(line: string): boolean {
  return undoneLine.test(line)
}

/** Says whether a line of an activation reports the removal of something that a task writes or needs. */
export function undoes(line: string, { owns = [], packages }: WantedTask): boolean {
  const [, kind, name = ''] = undoneLine.exec(line) ?? []
  if (kind === 'package')
    return packages.some((choice) => choice.split('|').some((each) => each.trim() === name))
  const paths = pathsOf(kind, name)
  return owns.some((place) => paths.some((path) => liesAt(place, path)))
}

function pathsOf(kind: string | undefined, name: string): string[] {
  switch (kind) {
    case 'file':
      return [name]
    case 'unit':
      return [unitFile(name)]
    case 'program':
      return [`/usr/local/bin/${name}`, `/usr/local/sbin/${name}`]
    default:
      return []
  }
}

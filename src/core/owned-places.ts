import { posix } from 'node:path'
import { optionName } from './option-name.js'

/** A path on a machine that hydra-ops itself writes, and that a definition must not write. */
export interface OwnedPlace {
  /** An absolute path. `*` stands for any characters within one name, and `/**` at the end for everything below. */
  readonly path: string
  /** The alternative for the user, as the continuation of `use …`. */
  readonly instead: string
  /** Whether a key may be delivered to this path, because the task accepts an existing file. */
  readonly takesKey?: boolean
}

/** A reserved path, with the part of hydra-ops that writes it. */
export interface ReservedPlace extends OwnedPlace {
  /** The writer's name in error messages: `set-up task 'nix'`. */
  readonly owner: string
}

/** A path that a definition requests for a file, a unit or a key. */
export interface WantedPlace {
  /** The path of the option. */
  readonly option: readonly string[]
  /** The absolute path on the machine. */
  readonly path: string
  readonly isKey?: boolean
}

const unitFolder = '/etc/systemd/system'

/** Lists the file of a unit, and the links that start the unit at boot. */
export function ownedUnit(name: string, instead: string): OwnedPlace[] {
  return [
    { path: unitFile(name), instead },
    { path: `${unitFolder}/*.wants/${name}`, instead },
  ]
}

/** Lists the paths of a service. Users can change the service with a drop-in. */
export function ownedService(name: string): OwnedPlace[] {
  const dropIn = `${unitFile(name.replaceAll('*', 'NAME'))}.d/own.conf`
  return ownedUnit(name, `a drop-in: deployment.files.${JSON.stringify(dropIn)}`)
}

/** Returns the path of a unit's own file. */
export function unitFile(name: string): string {
  return `${unitFolder}/${name}`
}

/** Explains why requested paths are refused: because they are reserved, or requested twice. */
export function placeProblems(
  wanted: readonly WantedPlace[],
  reserved: readonly ReservedPlace[],
): { readonly path: readonly string[]; readonly say: string }[] {
  const firstAt = new Map<string, string>()
  return wanted.flatMap(({ option, path, isKey = false }) => {
    const place = realPlace(path)
    const owner = reserved.find((each) => liesAt(each, path) && !(isKey && each.takesKey === true))
    if (owner !== undefined) {
      return [{ path: option, say: `${owner.owner} writes ${path}; use ${owner.instead}` }]
    }
    const below = reserved.find((each) => realPlace(each.path).startsWith(`${place}/`))
    if (below !== undefined) {
      return [
        { path: option, say: `${path} is a folder on the machine: ${below.owner} writes ${below.path}` },
      ]
    }
    const other = firstAt.get(place)
    if (other !== undefined)
      return [{ path: option, say: `${other} writes ${path} too; keep one of the two options` }]
    firstAt.set(place, optionName(option))
    return []
  })
}

/** Tells whether a place covers a path. */
export function liesAt(place: OwnedPlace, path: string): boolean {
  return covers(place.path, realPlace(path))
}

/** Tells whether a pattern matches a path. */
function covers(pattern: string, path: string): boolean {
  const [whole = '', below] = realPlace(pattern).split(/(\/\*\*)$/)
  const names = whole.split('*').map((text) => text.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(`^${names.join('[^/]*')}${below === undefined ? '' : '(?:/.*)?'}$`).test(path)
}

/** Resolves the links that exist on every Debian, and removes empty and dot parts of the path. */
function realPlace(path: string): string {
  return posix
    .resolve('/', path)
    .replace(/^\/var\/(run|lock)(?=\/|$)/, (_, name) => (name === 'run' ? '/run' : '/run/lock'))
}

/** A disk that VirtualBox has registered. */
export interface Medium {
  readonly uuid: string
  /** UUID of the disk that a differencing disk builds on; undefined for a disk that stands alone. */
  readonly parent: string | undefined
  readonly location: string
  readonly capacityMiB: number
  /** Whether VirtualBox can open the file: the file exists, and has the registered UUID. */
  readonly accessible: boolean
}

/** Parses the output of `list hdds`: one block for each disk. */
export function parseMedia(text: string): Medium[] {
  return text.split(/\n\s*\n/).flatMap((block) => {
    const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(block)?.[1]
    const [uuid, location] = [field('UUID'), field('Location')]
    if (uuid === undefined || location === undefined) return []
    const parent = field('Parent UUID')
    return [
      {
        uuid,
        parent: parent === undefined || parent === 'base' ? undefined : parent,
        location,
        capacityMiB: Number(/^(\d+)/.exec(field('Capacity') ?? '')?.[1]),
        accessible: field('State') !== 'inaccessible',
      },
    ]
  })
}

/**
 * Finds the machine's own disk to which an attached file belongs. A snapshot attaches a differencing file in place
 * of the disk.
 */
export function ownerOf(
  attached: string,
  media: readonly Medium[],
  ours: ReadonlySet<string>,
): string | undefined {
  const seen = new Set<string>()
  let medium = media.find(({ location }) => location === attached)
  if (ours.has(attached)) return attached
  while (medium !== undefined && !seen.has(medium.uuid)) {
    if (ours.has(medium.location)) return medium.location
    seen.add(medium.uuid)
    const { parent } = medium
    medium = media.find(({ uuid }) => uuid === parent)
  }
  return undefined
}

/** Lists the files that a disk builds on, nearest first. */
export function ancestorsOf(location: string, media: readonly Medium[]): string[] {
  const found: string[] = []
  let medium = media.find((each) => each.location === location)
  while (medium?.parent !== undefined && found.length < media.length) {
    const { parent } = medium
    medium = media.find(({ uuid }) => uuid === parent)
    if (medium !== undefined) found.push(medium.location)
  }
  return found
}

/** Orders disks so that every disk comes before the disk that it builds on. */
export function childrenFirst(media: readonly Medium[]): Medium[] {
  const depth = (medium: Medium | undefined, steps = 0): number =>
    medium?.parent === undefined || steps > media.length
      ? steps
      : depth(
          media.find(({ uuid }) => uuid === medium.parent),
          steps + 1,
        )
  return [...media].sort((a, b) => depth(b) - depth(a))
}

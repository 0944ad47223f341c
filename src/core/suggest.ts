/**
 * Returns the known word that `wanted` probably means, for "did you mean". The result is the nearest word by edit
 * distance, or else the only word that `wanted` abbreviates. An edit distance above a third of the longer word is too
 * large.
 */
export function suggest(wanted: string, known: readonly string[]): string | undefined {
  const needle = wanted.toLowerCase()
  let best: { word: string; distance: number } | undefined
  for (const word of known) {
    const candidate = word.toLowerCase()
    const distance = editDistance(needle, candidate)
    const allowed = Math.max(1, Math.floor(Math.max(needle.length, candidate.length) / 3))
    // A one-letter word is one edit from every other one-letter word.
    if (distance > allowed || distance >= candidate.length) continue
    if (best === undefined || distance < best.distance) best = { word, distance }
  }
  if (best !== undefined) return best.word
  const longer = known.filter((word) => word.toLowerCase().startsWith(needle))
  return needle.length >= 2 && longer.length === 1 ? longer[0] : undefined
}

/** Returns the optimal string alignment distance: Levenshtein's distance, with a swap of neighbours as one edit. */
function editDistance(a: string, b: string): number {
  const width = b.length + 1
  let before: number[] = []
  let previous = Array.from({ length: width }, (_, column) => column)
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row]
    for (let column = 1; column < width; column += 1) {
      const same = a[row - 1] === b[column - 1]
      let cost = Math.min(
        at(previous, column) + 1,
        at(current, column - 1) + 1,
        at(previous, column - 1) + (same ? 0 : 1),
      )
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1]
      if (swapped) cost = Math.min(cost, at(before, column - 2) + 1)
      current.push(cost)
    }
    before = previous
    previous = current
  }
  return at(previous, width - 1)
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY
}

/**
 * Order in which people count: web2 before web10. By hand, because Intl.Collator takes longer to make than a
 * thousand machines to sort.
 */
export function naturally(a: string, b: string): number {
  const left = a.match(/\d+|\D+/g) ?? []
  const right = b.match(/\d+|\D+/g) ?? []
  for (let at = 0; at < Math.min(left.length, right.length); at += 1) {
    const order = comparePart(left[at] ?? '', right[at] ?? '')
    if (order !== 0) return order
  }
  return left.length - right.length || (a < b ? -1 : a > b ? 1 : 0)
}

function comparePart(a: string, b: string): number {
  const [x, y] = [Number(a), Number(b)]
  // Numbers of equal value (07, 7) are told apart at the end.
  if (!Number.isNaN(x) && !Number.isNaN(y)) return x - y
  const [lowerA, lowerB] = [a.toLowerCase(), b.toLowerCase()]
  return lowerA < lowerB ? -1 : lowerA > lowerB ? 1 : 0
}

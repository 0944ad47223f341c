const collator = new Intl.Collator('en', { numeric: true })

/** Order in which people count: web2 before web10. */
export function naturally(a: string, b: string): number {
  return collator.compare(a, b)
}

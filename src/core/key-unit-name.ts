/** Maximum length of a unit name, according to systemd.unit(5). */
const unitNameMax = 255

/**
 * Returns NixOps' name of the unit that is active while the key exists: `<name>-key.service`. Characters that are
 * not allowed in a unit name become `\xNN`, as in systemd-escape. A key whose unit name would be too long has no
 * unit.
 */
export function keyUnitName(key: string): string | undefined {
  const escaped = [...Buffer.from(key)]
    .map((byte, index) => {
      const char = String.fromCharCode(byte)
      const allowed = index === 0 ? /[A-Za-z0-9:_-]/ : /[A-Za-z0-9:_.-]/
      return allowed.test(char) ? char : hexEscape(byte)
    })
    .join('')
  const unit = `${escaped}-key.service`
  return unit.length <= unitNameMax ? unit : undefined
}

/** Escapes a byte in the notation of unit names. */
export function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}

/** Most characters of a unit's name: systemd.unit(5). */
const unitNameMax = 255

/**
 * NixOps' name of the unit that is active while the key is there: `<name>-key.service`. Characters that a unit
 * name cannot have are written `\xNN`, as systemd-escape does; a name that gets too long by that has no unit.
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

/** A byte as units write it. */
export function hexEscape(byte: number): string {
  return `\\x${byte.toString(16).padStart(2, '0')}`
}

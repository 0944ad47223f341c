/** Returns the name under which another program writes a file until it is whole; a crash leaves that draft. */
export function draftOf(file: string): string {
  return `${file}.new`
}

/**
 * Returns the name under which another program writes a file until the file is complete. A crash can leave this
 * draft.
 */
export function draftOf(file: string): string {
  return `${file}.new`
}

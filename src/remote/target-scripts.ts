import { findTargetFile, type ScriptValues, targetFile, valueLine } from '../core/target-file.js'

/** Builds the text for a machine's shell: values, shared functions, and the script (`tasks/nix/look`). */
export function targetScript(name: string, values: ScriptValues = {}): string {
  return [
    `# ${name}\n`,
    ...Object.entries(values).map(valueLine),
    ...sharedBy(name),
    targetFile(`${name}.sh`),
  ].join('')
}

/**
 * Builds the text of a script that stays on a machine as a file. The text leaves out the shared functions, so that
 * the file changes only with its own text.
 */
export function placedScript(name: string, values: ScriptValues): string {
  return [...Object.entries(values).map(valueLine), targetFile(`${name}.sh`)].join('')
}

/** Reads `lib.sh` of `target/`, and of each folder down to the script's own, if the folder has one. */
function sharedBy(name: string): string[] {
  const folders = name.split('/').slice(0, -1)
  const inner = folders.map((_, index) => `${folders.slice(0, index + 1).join('/')}/lib.sh`)
  return [targetFile('lib.sh'), ...inner.flatMap((path) => findTargetFile(path) ?? [])]
}

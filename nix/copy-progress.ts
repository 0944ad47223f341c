import type { Run } from '../src/core/run.js'

/** Minimum time between two lines of progress; the last line is always shown. */
const everyMs = 1_000

/** Creates a function that reports progress at intervals. */
export function reporter(run: Run, now: () => number = Date.now): (line: string, isLast: boolean) => void {
  let saidAt = Number.NEGATIVE_INFINITY
  let said = ''
  return (line, isLast) => {
    if (line === said || (!isLast && now() - saidAt < everyMs)) return
    saidAt = now()
    said = line
    run.log(line)
  }
}

/**
 * Reads the output of nix-copy-closure: `copying 3 paths...`, then one line for each path. Other lines are logged
 * unchanged.
 */
export function copyProgress(run: Run, count: number, now?: () => number): { line(line: string): void } {
  const report = reporter(run, now)
  let total = count
  let copied = 0
  return {
    line(line) {
      const paths = /^copying (\d+) paths/.exec(line)?.[1]
      if (paths !== undefined) {
        total = Number(paths)
        return
      }
      if (/^copying path '/.test(line)) {
        copied += 1
        report(`${copied} of ${total} paths`, copied === total)
        return
      }
      if (line.trim() !== '') run.log(line)
    },
  }
}

/** Suggests a remedy for common causes of a failed copy. */
export function hintFor(stderr: string): { hint?: string } {
  if (/lacks a (?:valid )?signature/.test(stderr)) {
    return {
      hint: "the machine's Nix daemon does not trust the login user; log in as root or as a sudo user",
    }
  }
  if (/No space left on device|disk (?:is )?full/.test(stderr)) {
    return {
      hint: 'the disk of the machine is full; collect garbage there (nix-store --gc), or use a larger disk',
    }
  }
  return {}
}

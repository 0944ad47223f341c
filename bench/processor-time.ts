import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Returns a function that reads the processor time of this process' control group, in milliseconds; undefined without a
 * group of its own. The group counts our programs and both ends of each connection. A busy host changes this time far less
 * than the time of a clock.
 */
export function processorTime(): (() => number) | undefined {
  return readFileSync('/proc/self/cgroup', 'utf8').split('\n').flatMap(counterOf)[0]
}

/** Finds the counter of a line `ID:controllers:/path` (cgroups(7)); version 2 has no controllers there. */
function counterOf(line: string): (() => number)[] {
  const [, controllers = '', path = '/'] = line.split(':')
  if (path === '/') return []
  if (controllers === '') {
    const file = join('/sys/fs/cgroup', path, 'cpu.stat')
    return existsSync(file) ? [() => microseconds(file) / 1_000] : []
  }
  const file = join('/sys/fs/cgroup/cpuacct', path, 'cpuacct.usage')
  return controllers.split(',').includes('cpuacct') && existsSync(file)
    ? [() => Number(readFileSync(file, 'utf8')) / 1_000_000]
    : []
}

function microseconds(file: string): number {
  return Number(/^usage_usec (\d+)$/m.exec(readFileSync(file, 'utf8'))?.[1])
}

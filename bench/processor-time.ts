import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/**
 * Returns a function that reads the processor time of this process's control group, in milliseconds. Returns
 * undefined where the process has no control group of its own. The group counts hydra-ops's programs and both
 * ends of each connection. Other load on the host affects this time far less than wall-clock time.
 */
export function processorTime(): (() => number) | undefined {
  return readFileSync('/proc/self/cgroup', 'utf8').split('\n').flatMap(counterOf)[0]
}

/**
 * Finds the counter for a line `ID:controllers:/path` of /proc/self/cgroup (cgroups(7)). Version 2 leaves the
 * controllers empty.
 */
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

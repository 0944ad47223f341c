import { type BinfmtOptions, emulators } from '../core/binfmt-options.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { SetupTask } from '../core/setup-task.js'
import type { Host } from '../core/ssh.js'
import { askMachine, type Facts, fact, runScript } from '../remote/run-script.js'

/** Folder in which the kernel lists the registered emulators. */
const registered = '/proc/sys/fs/binfmt_misc'

/** Emulation of other systems, with the emulators from Debian's packages. */
export const binfmtTask: SetupTask<BinfmtOptions> = {
  id: 'binfmt',
  title: 'emulation of other systems',
  after: ['nix'],
  stage: 'configure',
  debianPackages: () => ['qemu-user-static', 'binfmt-support'],
  wanted: ({ definition: { os, options } }) =>
    os === 'debian' && options.binfmt.emulatedSystems.length > 0 ? options.binfmt : undefined,
  owns: () => [],
  async probe(host, options, run) {
    const problems = problemsIn(await look(host, options, run))
    const wanted = emulatorsOf(options)
    if (problems.length === 0) return 'done'
    return problems.length === wanted.length && problems.every((each) => each.endsWith(absent))
      ? 'needed'
      : { drifted: problems.join('; ') }
  },
  async apply(host, options, run) {
    const values = { registered, emulators: emulatorsOf(options) }
    const enable = {
      what: 'register the emulators',
      script: 'tasks/binfmt/apply',
      values,
      hint: 'a container has the kernel of its host: register the emulators there',
    }
    await runScript(host, enable, run)
    return { systems: options.emulatedSystems.join(',') }
  },
  async verify(host, options, run) {
    const seen = await look(host, options, run)
    const problems = problemsIn(seen)
    // A Nix that does not show its settings proves nothing; test builds on a builder show more.
    const platforms = fact(seen, 'platforms').split(/\s+/)
    const foreign = options.emulatedSystems.filter((system) => system !== fact(seen, 'system'))
    const missing = seen.has('platforms') ? foreign.filter((system) => !platforms.includes(system)) : []
    if (problems.length === 0 && missing.length === 0) return
    const why = [...problems, ...missing.map((system) => `Nix does not build for ${system}`)].join('; ')
    throw failure('BINFMT', `machine '${host.machine}': the emulation is not complete: ${why}`, {
      machine: host.machine,
      hint: 'run hydra-ops setup run binfmt --redo, and hydra-ops setup run nix --redo for the platforms of Nix',
    })
  },
}

const absent = ' is not registered'

function emulatorsOf({ emulatedSystems }: BinfmtOptions): string[] {
  return [...new Set(emulatedSystems.map((system) => emulators[system]))]
}

async function look(host: Host, options: BinfmtOptions, run: Run): Promise<Facts> {
  const values = { registered, emulators: emulatorsOf(options) }
  return askMachine(host, { what: 'look at the emulators', script: 'tasks/binfmt/look', values }, run)
}

function problemsIn(seen: Facts): string[] {
  return [
    ...(seen.get('absent') ?? []).map((name) => `${name}${absent}`),
    ...(seen.get('disabled') ?? []).map((name) => `${name} is disabled`),
    ...(seen.get('loose') ?? []).map(
      (name) => `${name} has no flag F, so builds in a sandbox do not find the emulator`,
    ),
  ]
}

import { installLine, type KnownProgram, knownPrograms } from '../core/programs.js'
import type { Finding } from '../core/provider.js'
import type { HostProbe } from './host-probe.js'

const purposes = {
  guests: 'create and run guests (provider libvirt)',
  images: 'build base images',
  nix: 'evaluate, build and copy',
  ssh: 'reach machines',
} as const satisfies Record<KnownProgram['purpose'], string>

/** Reports missing programs as `programs.guests`, `programs.images`, `programs.nix` and `programs.ssh`. */
export function checkPrograms(host: HostProbe): Finding[] {
  return (Object.keys(purposes) as KnownProgram['purpose'][]).map((purpose) => checkPurpose(purpose, host))
}

function checkPurpose(purpose: KnownProgram['purpose'], host: HostProbe): Finding {
  const id = `programs.${purpose}`
  const wanted = knownPrograms.filter((known) => known.purpose === purpose)
  const missing = wanted.filter((known) => host.program(known.program) === undefined)
  if (missing.length === 0) {
    return {
      id,
      level: 'ok',
      what: `programs to ${purposes[purpose]}: ${wanted.map((known) => known.program).join(', ')}`,
    }
  }
  return {
    id,
    level: 'problem',
    what: `programs to ${purposes[purpose]} are missing: ${missing.map((known) => known.program).join(', ')}`,
    mend: installLine(missing.map((known) => known.package)),
  }
}

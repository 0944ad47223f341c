import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../remote-script.js'

/** What can only be seen where Hydra is: of its package and of the machine. */
export interface HydraFacts {
  /** How Hydra is told its database: older ones by HYDRA_DBI, newer ones by a URL alone (the other is then ignored). */
  readonly database: 'dbi' | 'url'
  /** Programs of the package called hydra-*. */
  readonly programs: ReadonlySet<string>
  readonly systems: readonly string[]
  readonly cores: number
  readonly kvm: boolean
}

/** What no Hydra can do without. */
const essential = ['hydra-init', 'hydra-server', 'hydra-evaluator', 'hydra-queue-runner', 'hydra-create-user']

export async function hydraFacts(host: Host, packagePath: string, run: Run): Promise<HydraFacts> {
  const question = { what: 'look at the package of Hydra', script: factsScript, args: [packagePath] }
  const facts = await askMachine(host, question, run)
  const programs = new Set(facts.get('program') ?? [])
  const missing = essential.filter((program) => !programs.has(program))
  if (missing.length > 0) {
    throw failure(
      'PACKAGE',
      `machine '${host.machine}': ${packagePath} is no package of Hydra: it has no ${missing.join(', ')}`,
      { machine: host.machine, hint: 'deployment.hydra.package is what has bin/hydra-server and the others' },
    )
  }
  return {
    database: fact(facts, 'url') === 'yes' ? 'url' : 'dbi',
    programs,
    systems: facts.get('system') ?? [],
    cores: Math.max(1, Number(fact(facts, 'cores')) || 1),
    kvm: fact(facts, 'kvm') === 'yes',
  }
}

/**
 * The variable stands in Hydra's sources, in the package itself or in what its programs refer to. What the machine
 * builds: its own system, what binfmt emulates (as Nix' extra-platforms lists it), and Nix' own builders.
 */
const factsScript = `
package=$1
for program in "$package"/bin/hydra-*; do [ -x "$program" ] && echo "program=\${program##*/}"; done
mentions() { grep -rqaF -e "$1" -- "$package" 2>/dev/null; }
in_references() {
  for reference in $(nix-store -q --references "$package" 2>/dev/null); do
    case $reference in *hydra*) grep -rqaF -e "$1" -- "$reference" 2>/dev/null && return 0 ;; esac
  done
  return 1
}
if mentions HYDRA_DATABASE_URL; then echo url=yes
elif ! mentions HYDRA_DBI && in_references HYDRA_DATABASE_URL; then echo url=yes
fi
system=$(nix-instantiate --eval -E builtins.currentSystem 2>/dev/null | tr -d '"')
echo "system=\${system:-$(uname -m)-linux}"
nix --extra-experimental-features nix-command show-config 2>/dev/null |
  sed -n 's/^extra-platforms = //p' | tr ' ' '\\n' | sed '/^$/d; s/^/system=/'
echo system=builtin
echo "cores=$(nproc)"
if [ -w /dev/kvm ]; then echo kvm=yes; fi
exit 0
`

import { failure } from '../../core/errors.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'
import { askMachine, fact } from '../remote-script.js'

/** What can only be seen where Hydra is: of its package and of the machine. */
export interface HydraFacts {
  /** How Hydra is told its database: older ones by HYDRA_DBI, newer ones by a URL alone (the other is then ignored). */
  readonly database: 'dbi' | 'url'
  /** It asks its queue runner over HTTP, where it is told. */
  readonly asksRunner: boolean
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
    asksRunner: fact(facts, 'endpoint') === 'yes',
    programs,
    systems: facts.get('system') ?? [],
    cores: Math.max(1, Number(fact(facts, 'cores')) || 1),
    kvm: fact(facts, 'kvm') === 'yes',
  }
}

/**
 * Where Hydra reads the variable is Hydra/Model/DB.pm; a package that wraps another one has it not, then it is looked
 * for in all of it and in what it refers to. What the machine builds: its own system, what binfmt emulates (as Nix'
 * extra-platforms lists it), and Nix' own builders.
 */
const factsScript = `
package=$1
for program in "$package"/bin/hydra-*; do [ -x "$program" ] && echo "program=\${program##*/}"; done
reads_url() {
  model=$(find "$1" -path '*/Hydra/Model/DB.pm' 2>/dev/null | head -n 1)
  if [ -n "$model" ]; then grep -qF HYDRA_DATABASE_URL -- "$model"; return; fi
  grep -rqaF HYDRA_DBI -- "$1" 2>/dev/null && return 1
  grep -rqaF HYDRA_DATABASE_URL -- "$1" 2>/dev/null && return
  return 2
}
reads_url "$package"
answer=$?
if [ "$answer" = 2 ]; then
  for reference in $(nix-store -q --references "$package" 2>/dev/null); do
    case $reference in *hydra*) [ "$reference" = "$package" ] || { reads_url "$reference" && answer=0 && break; } ;; esac
  done
fi
[ "$answer" != 0 ] || echo url=yes
! grep -rqIF queue_runner_endpoint -- "$package" 2>/dev/null || echo endpoint=yes
system=$(nix-instantiate --eval -E builtins.currentSystem 2>/dev/null | tr -d '"')
echo "system=\${system:-$(uname -m)-linux}"
nix --extra-experimental-features nix-command show-config 2>/dev/null |
  sed -n 's/^extra-platforms = //p' | tr ' ' '\\n' | sed '/^$/d; s/^/system=/'
echo system=builtin
echo "cores=$(nproc)"
if [ -w /dev/kvm ]; then echo kvm=yes; fi
exit 0
`

import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from './run-script.js'

/** A port that a service is to listen on. */
export interface ServicePort {
  readonly port: number
  /** The unit whose own processes may have it. */
  readonly unit: string
  /** What to do about a stranger. */
  readonly hint: string
}

/** `ss` of Debian's iproute2 tells who listens. */
export const portPackages = ['iproute2']

/** An error that names who has the port, where it is somebody else. */
export async function refuseTakenPort(
  host: Host,
  { port, unit, hint }: ServicePort,
  run: Run,
): Promise<void> {
  const question = {
    what: `look who listens on port ${port}`,
    script: portScript,
    args: [String(port), unit],
  }
  const holder = fact(await askMachine(host, question, run), 'holder')
  if (holder === '') return
  throw failure('PORT_TAKEN', `machine '${host.machine}': port ${port} is taken by ${holder}`, {
    machine: host.machine,
    hint,
  })
}

/**
 * Whose the port is, is told by the control group of the process that has it. That the unit is active does not tell:
 * hydra-server is `active` for 20 s before it notices that its port is taken (measured).
 */
const portScript = `
port=$1 unit=$2
ss -Hltnp "sport = :$port" | while IFS= read -r line; do
  case $line in
    *'users:(('*) printf '%s\\n' "$line" | sed 's/.*users:((//; s/)).*//; s/),(/\\n/g' ;;
    *) echo '"another program"' ;;
  esac
done | while IFS= read -r process; do
  pid=$(printf '%s' "$process" | sed -n 's/.*,pid=\\([0-9]*\\).*/\\1/p')
  name=$(printf '%s' "$process" | cut -d'"' -f2)
  if ! sed 's|$|/|' "/proc/$pid/cgroup" 2>/dev/null | grep -qF "/$unit/"; then
    echo "holder=$name\${pid:+ (process $pid)}"
  fi
done
exit 0
`

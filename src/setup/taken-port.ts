import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { askMachine, fact } from './remote-script.js'

/** A port that a service is to listen on. */
export interface ServicePort {
  readonly port: number
  /** While this unit is active the port is its own. */
  readonly unit: string
  /** A program of this name may have it already; '' = none may. */
  readonly program: string
  /** What to do about a stranger. */
  readonly hint: string
}

/** An error that names who has the port, where it is somebody else. */
export async function refuseTakenPort(
  host: Host,
  { port, unit, program, hint }: ServicePort,
  run: Run,
): Promise<void> {
  const args = [String(port), unit, program]
  const question = { what: `look who listens on port ${port}`, script: portScript, args }
  const holder = fact(await askMachine(host, question, run), 'holder')
  if (holder === '') return
  throw failure('PORT_TAKEN', `machine '${host.machine}': port ${port} is taken by ${holder}`, {
    machine: host.machine,
    hint,
  })
}

const portScript = `
port=$1 unit=$2 program=$3
[ "$(systemctl is-active "$unit" 2>/dev/null)" != active ] || exit 0
line=$(ss -Hltnp "sport = :$port" | { [ -z "$program" ] && cat || grep -vF "\\"$program\\""; } | head -n 1)
[ -n "$line" ] || exit 0
name=$(printf '%s' "$line" | sed -n 's/.*users:(("\\([^"]*\\)".*/\\1/p')
echo "holder=\${name:-another program}"
`

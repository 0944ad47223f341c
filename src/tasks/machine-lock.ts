import { requireSuccess } from '../core/command-result.js'
import { failure } from '../core/errors.js'
import type { Run } from '../core/run.js'
import type { Host } from '../core/ssh.js'
import { hostOf } from '../machine/connect.js'
import type { MachineSession } from '../machine/machine.js'

/** On the machine, and gone with a reboot: what was being done there ended with it. */
const lockFile = '/run/hydra-ops/set-up-by'
/** Longer than any set-up takes; an operator who vanished for good is in nobody's way after it. */
const staleSeconds = 2 * 3_600
const askMs = 60_000
/** Nobody waits long for that: what stays behind is ours at the next attempt. */
const releaseMs = 10_000
const held = 75

/**
 * Runs set-up tasks as the only operator on the machine. The state's own lock keeps apart those who share a state;
 * this one those who do not, such as colleagues with a copy each.
 */
export function aloneOnMachine<T>(session: MachineSession, action: () => Promise<T>): Promise<T> {
  const { user, host } = session.ops.operator
  const who = `${user}@${host} with the state ${session.deployment.paths.root}`
  return withSetUpLock(hostOf(session), who, session.run, action)
}

export async function withSetUpLock<T>(
  host: Host,
  who: string,
  run: Run,
  action: () => Promise<T>,
): Promise<T> {
  await take(host, who, run)
  try {
    return await action()
  } finally {
    // Also after Ctrl-C, when the signal of the run forbids everything.
    const signal = AbortSignal.timeout(releaseMs)
    const what = 'let other operators set up the machine'
    await host.script(releaseScript, [lockFile, who], { signal, timeoutMs: releaseMs, what }).catch(() => {})
  }
}

async function take(host: Host, who: string, run: Run): Promise<void> {
  const what = 'keep other operators from setting up the machine'
  const args = [lockFile, who, String(staleSeconds)]
  const result = await host.script(takeScript, args, { signal: run.signal, timeoutMs: askMs, what })
  if (result.kind !== 'exited' || result.code !== held) {
    requireSuccess(result, { machine: host.machine, what })
    return
  }
  const [holder = 'somebody', seconds = '0'] = result.stdout.trim().split('\n')
  const minutes = Math.round(Number(seconds) / 60)
  throw failure(
    'BEING_SET_UP',
    `machine '${host.machine}' is being set up by ${holder}, since ${minutes === 0 ? 'less than a minute' : `${minutes} min`}`,
    {
      machine: host.machine,
      hint: `wait for that one; if it is dead for good, remove ${lockFile} on the machine`,
    },
  )
}

/**
 * Locks the folder (flock, the kernel's) while its file is looked at and replaced: of any number of takers one
 * gets the file, and a killed taker leaves nothing behind.
 */
const alone = `
exec 9< "\${file%/*}" && flock -w 30 9 || exit 1
`

const takeScript = `
file=$1 who=$2 stale=$3
mkdir -p -- "\${file%/*}" || exit 1
${alone}
if since=$(stat -c %Y -- "$file" 2>/dev/null); then
  holder=$(cat -- "$file")
  age=$(( $(date +%s) - since ))
  if [ "$holder" != "$who" ] && [ "$age" -lt "$stale" ]; then
    printf '%s\\n' "$holder" "$age"
    exit ${held}
  fi
fi
printf '%s\\n' "$who" > "$file.new" && mv -fT -- "$file.new" "$file"
`

const releaseScript = `
file=$1 who=$2
[ -e "$file" ] || exit 0
${alone}
[ "$(cat -- "$file" 2>/dev/null)" != "$who" ] || rm -f -- "$file"
`

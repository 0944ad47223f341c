import { requireSuccess } from '../../core/command-result.js'
import type { MachineFacts } from '../../core/deployment.js'
import type { Run } from '../../core/run.js'
import type { Host } from '../../core/ssh.js'

/** What one look at a Debian machine tells. */
export interface Survey {
  readonly facts: MachineFacts
  readonly bootId: string
  /** ID of os-release and, after it, what it is like (os-release(5)): `raspbian`, `debian`. Empty = it says nothing. */
  readonly systems: readonly string[]
  /** The closure its profile points to. */
  readonly profile: string | undefined
  /** UUID of the deployment that was activated there last. */
  readonly owner: string | undefined
  readonly freeKiB: number
  readonly hasNix: boolean
  /** dpkg says that a reboot is wanted. */
  readonly rebootWanted: boolean
  /** Packages that we installed for `deployment.aptPackages`, as the machine has written down. */
  readonly aptInstalled: readonly string[]
}

/** Where the profile of a Debian machine lies. */
export const debianProfile = '/nix/var/nix/profiles/hydra-ops'

/** Written by the activation program, beside its record of what it did to the machine (nix/target/hydra-ops/state.pl). */
export const ownerFile = '/var/lib/hydra-ops/owner'

/** A blink on a machine that is up; an emulated guest that still boots, on a busy host, has needed over a minute. */
const surveyMs = 3 * 60_000

const script = `
echo "boot_id=$(cat /proc/sys/kernel/random/boot_id)"
if [ -r /etc/os-release ]; then . /etc/os-release; fi
echo "systems=\${ID:-} \${ID_LIKE:-}"
echo "os=\${PRETTY_NAME:-unknown}"
echo "profile=$(readlink -f ${debianProfile} 2>/dev/null || true)"
echo "owner=$(head -n 1 ${ownerFile} 2>/dev/null | head -c 100)"
if command -v nix-store >/dev/null 2>&1; then echo nix=yes; fi
d=/nix; [ -d "$d" ] || d=/
echo "free_kib=$(df -Pk "$d" | awk 'NR == 2 { print $4 }')"
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then echo reboot=1; fi
echo "apt=$(cat /var/lib/hydra-ops/apt-installed 2>/dev/null | tr '\\n' ' ')"
`

/** Reads the facts of a machine in one command. */
export async function surveyMachine(host: Host, run: Run): Promise<Survey> {
  const what = 'read the facts of the machine'
  const result = await host.script(script, [], { signal: run.signal, timeoutMs: surveyMs, what })
  const { stdout } = requireSuccess(result, { machine: host.machine, what })
  const values = new Map(
    stdout.split('\n').flatMap((line) => {
      const at = line.indexOf('=')
      return at < 0 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    }),
  )
  const bootId = values.get('boot_id') ?? ''
  const freeKiB = Number(values.get('free_kib') ?? 0)
  const owner = values.get('owner')
  return {
    bootId,
    systems: (values.get('systems') ?? '').split(' ').filter((each) => each !== ''),
    profile: values.get('profile')?.startsWith('/nix/store/') ? values.get('profile') : undefined,
    owner: owner === '' ? undefined : owner,
    freeKiB,
    // Does it work, and which one is it? The set-up task `nix` asks: to start it is a quarter of a look's time.
    hasNix: values.has('nix'),
    rebootWanted: values.has('reboot'),
    aptInstalled: (values.get('apt') ?? '').split(' ').filter(Boolean),
    facts: { osRelease: values.get('os'), bootId, freeBytes: freeKiB * 1024 },
  }
}

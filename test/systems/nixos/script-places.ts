import type { Place } from './stopping.js'

const at = (script: string, ...lines: readonly string[]): Place[] => lines.map((line) => ({ script, line }))
/** Places in a script that stays on the machine, or in the script that installs it there. */
const begin = (...lines: readonly string[]) => at('nixos/begin', ...lines)
const bootStart = (...lines: readonly string[]) => at('nixos/boot-start', ...lines)

/** Places of a switch up to the first place of `keep`, in the order of a deploy. */
const untilKeep: readonly Place[] = [
  ...begin('step folder', 'step scripts', 'step armed', 'step guard', 'step started'),
  ...begin('sample before > "$folder/before"', 'leave ended $?'),
  ...begin('leave watched "$number"', 'leave settled "$number"'),
  ...at('nixos/confirm', 'step confirmed', 'say won yes'),
  ...at('nixos/start-keep', 'rm -f -- "$folder/kept"'),
  ...begin('before=$(readlink -- "$profile")', 'sync'),
]

const removal = at(
  'nixos/boot-forget',
  'step boot-loader',
  'step fallback',
  'step profile',
  'rm -rf -- "${1:?}"',
)

/** Places where a test cuts the power. */
export const cuts = {
  untilKeep,
  /** The marker of a possibly outdated boot menu is already on the disk here. */
  beforeProfile: begin('nix-env -p "$profile" --set "$new"'),
  guard: [
    ...at('nixos/undo', 'step now'),
    ...begin(
      'mv -T -- "$folder/armed" "$folder/fired" 2> /dev/null || [ -e "$folder/armed" ] || exit 0',
      'timeout 60 systemctl kill -s KILL -- "$unit" 2> /dev/null',
      'attempt=$((attempt + 1))',
      '[ -n "$outcome" ] || outcome=reboot',
      'timeout 60 systemctl stop "hydra-ops-guard-$run-long.timer" "hydra-ops-guard-$run-short.timer" 2> /dev/null',
      '[ "$outcome" = reboot ] || exit 0',
    ),
  ],
  /** Places after the change of the profile, and the systems that may be the boot default then. */
  keep: [
    ...begin('set_status=$?').map((place) => ({ place, boots: 'old' as const })),
    ...[...begin('boot_status=$?'), { script: 'nixos/begin', line: 'sync', nth: 2 }].map((place) => ({
      place,
      boots: 'either' as const,
    })),
    ...[
      ...begin('rm -f -- "$pending"', 'leave "$folder/kept" "$set_status $boot_status"'),
      ...at('nixos/finish', 'split_by_line', 'rm -f -- "$roots/old-$run" "$roots/new-$run"'),
    ].map((place) => ({ place, boots: 'next' as const })),
  ],
  preparation: bootStart(
    'step prepare',
    'step boot-loader',
    'step fallback',
    'step profile',
    'step files',
    'step units',
    'step armed',
    'step generation',
    'step menu',
  ),
  /** The script has this step once for each boot loader. */
  entry: { script: 'nixos/boot-start', line: 'step entry' } satisfies Place,
  next: { script: 'nixos/boot-start', line: 'step next' } satisfies Place,
  confirmation: at('nixos/boot-confirm', 'step confirmed'),
  removal,
  menuAgain: at('nixos/boot-forget', 'step menu'),
}

/** Places in the scripts of an operator who dies. Scripts that stay on the machine continue. */
export const deaths = {
  untilKeep: [
    ...begin('umask 077'),
    ...begin('step folder', 'step scripts', 'step armed', 'step guard', 'step started'),
    ...at('nixos/follow', 'boot=$(cat /proc/sys/kernel/random/boot_id)'),
    ...at('nixos/confirm', 'if ! mv -T -- "$folder/armed" "$folder/$name" 2> /dev/null; then'),
    ...at('nixos/confirm', 'step confirmed', 'say won yes'),
    ...at('nixos/start-keep', 'rm -f -- "$folder/kept"'),
  ],
  afterKeep: at('nixos/finish', 'split_by_line', 'rm -f -- "$roots/old-$run" "$roots/new-$run"'),
  undo: at('nixos/undo', ': > "$folder/now" || exit 1', 'step now'),
  bootOnce: [
    ...at('nixos/boot-check', ': "${profile:?}" "${control:?}"'),
    ...bootStart('step prepare'),
    ...at('nixos/boot-confirm', 'step confirmed'),
    ...removal,
  ],
}

/**
 * Arguments: unit, log, closure, options. Never `--pipe` (it would die with the connection), `--collect` (a unit
 * that vanished reads as a success) or `--wait` (0 for a failure across `daemon-reexec`): all three measured.
 */
export const startScript = `
unit=$1 log=$2 closure=$3
shift 3
if ! [ -d /run/systemd/system ]; then echo 'systemd does not run here' >&2; exit 1; fi
umask 077
folder=\${log%/*}
mkdir -p "$folder" || exit 1
ls -t "$folder" | tail -n +20 | while IFS= read -r old; do rm -f -- "$folder/$old"; done
exec systemd-run --quiet --unit="$unit" --service-type=exec --remain-after-exit \\
  -p StandardOutput="append:$log" -p StandardError=inherit \\
  /usr/bin/perl "$closure/hydra-ops/activate.pl" "$closure" --run "$unit" "$@"
`

/**
 * Arguments: unit, log, lines of it that were seen, seconds. Prints \`log LINE\` for every further line, and when
 * the unit is not running any more, or the seconds are over, what systemd says of it and what it recorded.
 * One command instead of one per look; looks twice a second, later once.
 */
export const followScript = `
unit=$1 log=$2 seen=$3 left=$(($4 * 2))
drain() {
  [ -e "$log" ] || return 0
  now=$(wc -l < "$log")
  [ "$now" -gt "$seen" ] || return 0
  sed -n "$((seen + 1)),\${now}s/^/log /p" "$log"
  seen=$now
}
looks=0
while :; do
  state=$(systemctl show -p Id,LoadState,ActiveState,SubState,Result,ExecMainCode,ExecMainStatus -- "$unit") || state=
  drain
  case $state in
    *ActiveState=activating* | *ActiveState=deactivating* | *ActiveState=active*SubState=running* | '') ;;
    *) break ;;
  esac
  [ $left -gt 0 ] || break
  looks=$((looks + 1))
  if [ $looks -gt 60 ]; then sleep 1; left=$((left - 2)); else sleep 0.5; left=$((left - 1)); fi
done
drain
printf '%s\\n' "$state" | sed 's/^/state /'
sed 's/^/record /' /var/lib/hydra-ops/result 2>/dev/null
echo "boot $(cat /proc/sys/kernel/random/boot_id)"
`

/** Argument: unit. */
export const finishScript = `
systemctl stop -- "$1" 2>/dev/null
systemctl reset-failed -- "$1" 2>/dev/null
exit 0
`

/** Arguments: units. */
export const journalScript = `
journalctl --sync 2>/dev/null
for unit; do
  journalctl --no-pager --quiet -n 20 -o short -u "$unit"
done
exit 0
`

# shellcheck shell=sh
# Follows an activation until its unit runs no more, or the time is over: one command instead of one for each look. It
# looks twice a second, later once.
# Values: unit, log (path), seen (lines of the log that were shown already), seconds.
# Prints `log LINE` for each further line; then `state` with what systemd says of the unit, `record` with what the
# activation recorded, and `boot` with the boot id.
: "${unit:?}" "${log:?}" "${seen:?}" "${seconds:?}"
left=$((seconds * 2))
drain() {
  [ -e "$log" ] || return 0
  now=$(wc -l < "$log")
  [ "$now" -gt "$seen" ] || return 0
  sed -n "$((seen + 1)),${now}s/^/log /p" "$log"
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
  if [ $looks -gt 60 ]; then
    sleep 1
    left=$((left - 2))
  else
    sleep 0.5
    left=$((left - 1))
  fi
done
drain
printf '%s\n' "$state" | sed 's/^/state /'
sed 's/^/record /' /var/lib/hydra-ops/result 2>/dev/null
echo "boot $(cat /proc/sys/kernel/random/boot_id)"

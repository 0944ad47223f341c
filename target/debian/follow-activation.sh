# shellcheck shell=sh
# Follows an activation until its unit ends or the deadline passes, in a single command. The script checks the unit
# twice a second, and later once a second.
# Values: unit, log (path), seen (number of log lines already shown), seconds.
# Prints `log LINE` for each further line; then `state` with the unit's state in systemd, `record` with the
# activation's own record, and `boot` with the boot id.
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

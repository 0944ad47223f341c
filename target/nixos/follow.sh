# shellcheck shell=sh
# Follows an activation in a single command. Ends at a file in its folder, a fired guard, an ended unit, or the
# deadline.
# Values: unit (of the activation, or of its last step), guards (pattern of the guard's units), log (path), folder,
# await (name of a file in the folder), boot_id (of the activation), seen (number of log lines already shown),
# seconds.
# Prints `log LINE` for each further line; then `state` with the unit's state in systemd, `file NAME TEXT` for each
# known file of the folder, `before` and `sample` with the samples of services, `boot`, `current`, `booted` and
# `profile`.
: "${unit:?}" "${guards:?}" "${log:?}" "${folder:?}" "${await:?}" "${boot_id:?}" "${seen:?}" "${seconds:?}"
boot=$(cat /proc/sys/kernel/random/boot_id)
left=$((seconds * 2))
drain() {
  [ -e "$log" ] || return 0
  now=$(wc -l < "$log")
  [ "$now" -gt "$seen" ] || return 0
  sed -n "$((seen + 1)),${now}s/^/log /p" "$log"
  seen=$now
}
# The unit writes the file before it ends. An ended unit without the file has therefore failed to write it.
over() {
  if [ -e "$folder/$await" ] || [ "$boot" != "$boot_id" ]; then return 0; fi
  if [ "$await" = guard-result ]; then
    guard_is_gone
    return
  fi
  [ ! -e "$folder/fired" ] || return 0
  case $state in
    *ActiveState=activating* | *ActiveState=deactivating* | *ActiveState=active*SubState=running* | '') return 1 ;;
  esac
}
# A guard may end without a result after it took its file, for instance on a full disk.
guard_is_gone() {
  if [ -e "$folder/fired" ] && ! systemctl is-active --quiet "$guards"; then idle=$((idle + 1)); else idle=0; fi
  [ "$idle" -gt 20 ]
}
idle=0
looks=0
while :; do
  # A query fails while systemd re-executes itself (measured). An empty state therefore leads to another query.
  state=$(systemctl show -p Id,LoadState,ActiveState,SubState,Result -- "$unit") || state=
  drain
  over && break
  [ "$left" -gt 0 ] || break
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
for name in old armed abandoned confirmed fired ended watched settled kept prepared guard-result; do
  [ ! -e "$folder/$name" ] || printf 'file %s %s\n' "$name" "$(first_line "$folder/$name")"
done
sed 's/^/before /' "$folder/before" 2> /dev/null
sed 's/^/sample /' "$folder/samples" 2> /dev/null
printf 'boot %s\n' "$boot"
printf 'current %s\n' "$(place_of /run/current-system)"
printf 'booted %s\n' "$(place_of /run/booted-system)"
printf 'profile %s\n' "$(place_of /nix/var/nix/profiles/system)"

# shellcheck shell=sh
# Goes back to the old system unless the new system was confirmed first. A timer starts this script; so does `undo`.
# The script uses only the old system's programs, and the old system need not contain hydra-ops.
# Values: old (system), run, folder, unit (of the activation), log, attempt_seconds, pause_seconds. The environment
# gives due (the uptime in seconds from which a timer may start the guard).
#
# The rename of the file `armed` decides: either the guard or `confirm` gets the file, never both. Unit states are not
# used, because another program's stop or reset-failed removes units.
: "${old:?}" "${run:?}" "${folder:?}" "${unit:?}" "${log:?}" "${attempt_seconds:?}" "${pause_seconds:?}"
PATH=$old/sw/bin
export PATH LC_ALL=C HOME=/root
cd / || exit 1
read -r uptime _ < /proc/uptime
# A clock that was set forward starts the guard too early. The timer's other clock then starts the guard again.
if [ ! -e "$folder/now" ] && [ "${uptime%%.*}" -lt "$((${due:-0} - 2))" ]; then exit 0; fi
# The rename can also fail because of a broken disk. The file `armed` then still exists, and no other program has
# renamed it.
mv -T -- "$folder/armed" "$folder/fired" 2> /dev/null || [ -e "$folder/armed" ] || exit 0
if true 2> /dev/null >> "$log"; then exec >> "$log" 2>&1; fi
echo "hydra-ops: nobody confirmed the new system; going back to $old"
# Both commands fail for a unit that has already ended.
timeout 60 systemctl kill -s KILL -- "$unit" 2> /dev/null
timeout 60 systemctl stop -- "$unit" 2> /dev/null

outcome='' attempt=0
while [ "$attempt" -lt 3 ]; do
  attempt=$((attempt + 1))
  NIXOS_NO_CHECK=1 timeout -k 5 "$attempt_seconds" "$old/bin/switch-to-configuration" test < /dev/null
  code=$?
  echo "hydra-ops: attempt $attempt to go back ended with status $code"
  if [ "$(readlink -e /run/current-system)" = "$old" ]; then
    case $code in
      0 | 4 | 100) outcome=back ;;
      # Status 2 means that one part of the activation failed and all other parts were done.
      2) [ "$attempt" -lt 3 ] || outcome=back ;;
    esac
  fi
  [ -z "$outcome" ] || break
  sleep "$pause_seconds"
done
# The boot default has not changed yet, so a reboot leads to the system that was booted before.
[ -n "$outcome" ] || outcome=reboot
printf '%s %s %s\n' "$outcome" "$code" "$attempt" > "$folder/guard-result.new" &&
  mv -T -- "$folder/guard-result.new" "$folder/guard-result"
timeout 60 systemctl stop "hydra-ops-guard-$run-long.timer" "hydra-ops-guard-$run-short.timer" 2> /dev/null
timeout 60 sync
[ "$outcome" = reboot ] || exit 0
echo 'hydra-ops: the old system does not come back; rebooting'
timeout 60 systemctl --no-block reboot
sleep 120
timeout 60 systemctl reboot --force
sleep 60
timeout 60 systemctl reboot --force --force
sleep 30
echo b > /proc/sysrq-trigger

# shellcheck shell=sh
# Goes back to the old system unless somebody confirmed the new one first. A timer starts this script; so does `undo`.
# The script needs nothing of the new system, and nothing of hydra-ops in the old one.
# Values: old (system), run, folder, unit (of the activation), log, attempt_seconds, pause_seconds. The environment
# gives due (the uptime in seconds from which a timer may start the guard).
#
# The renaming of the file `armed` decides: exactly one of the guard and `confirm` gets the file. The state of a unit
# decides nothing, because a stop or a reset-failed of another program removes units.
: "${old:?}" "${run:?}" "${folder:?}" "${unit:?}" "${log:?}" "${attempt_seconds:?}" "${pause_seconds:?}"
PATH=$old/sw/bin
export PATH LC_ALL=C HOME=/root
cd / || exit 1
read -r uptime _ < /proc/uptime
# A clock that was set forward starts the guard too early; the other clock of the timer starts the guard again.
if [ ! -e "$folder/now" ] && [ "${uptime%%.*}" -lt "$((${due:-0} - 2))" ]; then exit 0; fi
# A renaming can also fail on a broken disk. The file is then still there, and nobody else can have renamed the file.
mv -T -- "$folder/armed" "$folder/fired" 2> /dev/null || [ -e "$folder/armed" ] || exit 0
if true 2> /dev/null >> "$log"; then exec >> "$log" 2>&1; fi
echo "hydra-ops: nobody confirmed the new system; going back to $old"
# Both fail for a unit that has ended already.
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
      # Status 2 means that a part of the activation failed and all others were done.
      2) [ "$attempt" -lt 3 ] || outcome=back ;;
    esac
  fi
  [ -z "$outcome" ] || break
  sleep "$pause_seconds"
done
# The boot default was not touched yet, so a reboot leads to the system that was booted before.
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

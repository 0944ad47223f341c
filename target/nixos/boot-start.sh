# shellcheck shell=sh
# Starts the unit that prepares one boot of the new system; the unit needs no connection.
# Values: unit, log, folder, old (system that stays the boot default), prepare (script that stays on the machine).
: "${unit:?}" "${log:?}" "${folder:?}" "${old:?}" "${prepare:?}"
# An earlier process may have started the unit.
case $(systemctl show -p SubState --value -- "$unit") in running | start) exit 0 ;; esac
systemctl stop -- "$unit" 2> /dev/null
systemctl reset-failed -- "$unit" 2> /dev/null
rm -f -- "$folder/prepared"
printf '%s\n' "$prepare" > "$folder/prepare" || exit 1
step prepare
systemd-run --quiet --unit="$unit" --service-type=exec --remain-after-exit \
  -p StandardOutput="append:$log" -p StandardError=inherit "$old/sw/bin/bash" "$folder/prepare"

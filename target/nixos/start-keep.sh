# shellcheck shell=sh
# Starts the unit that makes the new system the boot default; the unit needs no connection.
# Values: unit, log, folder, old (system).
: "${unit:?}" "${log:?}" "${folder:?}" "${old:?}"
# An earlier process may have started the unit; a stop would interrupt the writing of the boot menu.
case $(systemctl show -p SubState --value -- "$unit") in running | start) exit 0 ;; esac
systemctl stop -- "$unit" 2> /dev/null
systemctl reset-failed -- "$unit" 2> /dev/null
rm -f -- "$folder/kept"
systemd-run --quiet --unit="$unit" --service-type=exec --remain-after-exit \
  -p StandardOutput="append:$log" -p StandardError=inherit "$old/sw/bin/bash" "$folder/keep"

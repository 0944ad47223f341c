# shellcheck shell=sh
# Removes a one-time boot from the machine: from the boot loader first, then its fallback, its profile and its files.
# Values: run, unit (that prepared the boot), once (folder of the one-time boot), profile (of the system that boots
# once), default (profile of the boot default), menu (true if the boot menu must be rebuilt), log.
: "${run:?}" "${unit:?}" "${once:?}" "${profile:?}" "${default:?}" "${menu:?}" "${log:?}"
# A stop would interrupt the writing of a boot menu.
left=600
while [ "$left" -gt 0 ]; do
  case $(systemctl show -p SubState --value -- "$unit") in running | start) ;; *) break ;; esac
  sleep 1
  left=$((left - 1))
done
systemctl stop -- "$unit" 2> /dev/null
systemctl reset-failed -- "$unit" 2> /dev/null
[ "$(first_line "$once/run")" = "$run" ] || [ ! -e "$once" ] || exit 0
PATH=$PATH:$(place_of "$default")/sw/bin
forget_boot_once "$once" "$profile" || exit 1
systemctl daemon-reload
[ "$menu" = true ] || exit 0
# A lost connection must not interrupt the writing of the menu, so the output goes to the log.
"$(place_of "$default")/bin/switch-to-configuration" boot < /dev/null >> "$log" 2>&1 || {
  echo "the boot menu could not be made again; $log says why" >&2
  exit 1
}
step menu
sync_menu

# shellcheck shell=sh
# Starts the units of keys.
# Values: units, records of name, `start` or `restart`, `enable`, `disable` or `keep`; written (true if a unit file
# was written). `keep` is for a unit of the closure, which systemd may not have loaded yet.
#
# systemd finds a new unit by itself. A changed unit requires a reload of all units, which takes seconds.
: "${units?}" "${written:?}"
[ -d /run/systemd/system ] || exit 0

# Runs the step $1 (`show` or `start`) for each unit, until one fails.
each_unit() {
  while IFS=: read -r unit verb at_boot <&3; do
    [ -n "$unit" ] || continue
    decode unit
    case $1 in
      show) systemctl show -p LoadState -p NeedDaemonReload -- "$unit" || echo unknown ;;
      start)
        if [ "$at_boot" = keep ]; then
          [ "$(systemctl show -p LoadState --value -- "$unit")" = loaded ] || continue
        else
          systemctl --quiet --no-reload "$at_boot" -- "$unit" || return 1
        fi
        systemctl --no-block "$verb" -- "$unit" || return 1
        ;;
    esac
  done 3<<END
$units
END
}

if [ "$written" = true ] &&
  each_unit show | grep -vx -e LoadState=loaded -e NeedDaemonReload=no -e '' > /dev/null; then
  systemctl daemon-reload || exit 1
fi
each_unit start || exit 1

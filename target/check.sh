# shellcheck shell=sh
# Looks at the load, the disks and the units of a machine, also without root rights.
# Values: none.
# Prints `load` with three averages, `disk PERCENT MOUNT`, `readonly /`, `units` if systemd is installed, `failed
# UNIT`, and `auto-update` with the last result of the automatic update, a line of JSON.
# A failed unit of an activation is left out, because it is not a fault of the machine.
echo "load $(cut -d' ' -f1-3 /proc/loadavg)"
df -Pk / /nix /boot /var 2>/dev/null | awk 'NR > 1 && !seen[$6]++ { sub(/%/, "", $5); print "disk", $5, $6 }'
awk '$2 == "/" && $4 ~ /^ro(,|$)/ { print "readonly /" }' /proc/mounts
if command -v systemctl > /dev/null 2>&1; then
  echo units
  systemctl list-units --failed --plain --no-legend --no-pager 2>/dev/null | awk '
    $1 !~ /^hydra-ops-(activation|keep|guard|boot)-/ { print "failed", $1 }'
fi
# The result file stays on a NixOS machine that no longer updates itself, so the timer is checked first.
if [ -e /etc/systemd/system/hydra-ops-auto-update.timer ]; then
  sed -n '1s/^/auto-update /p' /var/lib/hydra-ops/auto-update/result.json 2> /dev/null
fi
exit 0

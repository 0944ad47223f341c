# shellcheck shell=sh
# Mounts the known mount units at or above the destinations of keys, and waits until they are mounted.
# Values: units (names of mount units).
: "${units:?}"
split_by_line
[ -d /run/systemd/system ] || exit 0
for unit in $units; do
  [ "$(systemctl show -p LoadState --value -- "$unit")" = loaded ] || continue
  systemctl start -- "$unit" || exit 1
done

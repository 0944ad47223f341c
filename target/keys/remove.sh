# shellcheck shell=sh
# Removes keys, and those units of keys that carry the mark of hydra-ops.
# Values: units (names), folder (of units), mark (the first line of each unit of hydra-ops), keys, records of path and
# of the temporary file beside it that an attempt may have left.
: "${units?}" "${folder:?}" "${mark:?}" "${keys?}"
split_by_line
reload=
for unit in $units; do
  if [ -d /run/systemd/system ] && [ "$(head -n 1 -- "$folder/$unit" 2>/dev/null)" = "$mark" ]; then
    systemctl --quiet --no-reload --no-block disable --now -- "$unit" || exit 1
    rm -f -- "$folder/$unit" || exit 1
    reload=yes
  fi
done
while IFS=: read -r path staged <&3; do
  [ -n "$path" ] || continue
  decode path staged
  rm -f -- "$path" "$staged" || exit 1
done 3<<END
$keys
END
[ -z "$reload" ] || systemctl daemon-reload

# shellcheck shell=sh
# Looks at keys.
# Values: keys, records of path, path of its unit, user, group, whether the group may read the key (yes, no); made_as.
# Standard input: a line that is hashed before each content, so that a listener learns nothing from the answer.
# Prints for each key a line `HASH MODE UID:GID WANTED-UID:WANTED-GID SHUT UNIT-HASH`. HASH is `-` for no file and
# `link` for a link, which is never a key of hydra-ops. UNIT-HASH is `none` without systemd, and for a key whose unit a
# deploy does not write (empty path).
: "${keys:?}" "${made_as:?}"
IFS= read -r nonce || exit 1
while IFS=: read -r path unit_path user group group_reads <&3; do
  decode path unit_path user group
  hash=- meta='- -' open=open
  if [ -L "$path" ]; then
    hash='link'
  elif [ -f "$path" ]; then
    hash=$({ printf %s "$nonce"; cat -- "$path"; } | sha256sum)
    meta=$(stat -c '%a %u:%g' -- "$path") || hash=- meta='- -'
  elif [ -e "$path" ]; then
    hash=other
  fi
  folder=${path%/*}
  if [ "$hash" != - ] && ours "$folder" && shut "$folder" "$user" "$group" "$group_reads"; then open=shut; fi
  unit=none
  if [ -n "$unit_path" ] && [ -d /run/systemd/system ]; then unit=$(sha256sum < "$unit_path" 2>/dev/null) || unit=-; fi
  echo "${hash%% *} $meta $(user_id "$user"):$(group_id "$group") $open ${unit%% *}"
done 3<<END
$keys
END

# shellcheck shell=sh
# Finds unit files that hydra-ops did not write.
# Values: units (paths), mark (the first line of each unit of hydra-ops).
# Prints the number (from 0) of each existing unit file with a different first line.
: "${units:?}" "${mark:?}"
split_by_line
index=0
for unit in $units; do
  if [ -e "$unit" ] && [ "$(head -n 1 -- "$unit")" != "$mark" ]; then echo $index; fi
  index=$((index + 1))
done

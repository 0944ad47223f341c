# shellcheck shell=sh
# Writes lines to /etc/hosts, so that a machine without a closure finds the others by name. The first activation then
# owns these lines.
# Values: file (/etc/hosts), hosts (lines of an address and a name).
: "${file:?}" "${hosts:?}"
file=$(readlink -f -- "$file") || exit 1
new=$file.hydra-ops-new
if [ -e "$file" ]; then cp -p -- "$file" "$new"; else : > "$new" && chmod 0644 "$new"; fi || exit 1
step 'the file is copied'
{
  if [ -e "$file" ]; then
    sed '/^# hydra-ops: begin$/,/^# hydra-ops: end$/d' "$file" || exit 1
    [ -z "$(tail -c 1 -- "$file")" ] || echo
  fi
  printf '%s\n' '# hydra-ops: begin' "$hosts" '# hydra-ops: end'
} > "$new" || exit 1
sync "$new"
step 'the copy has the names'
# The file of a container is a mount, which a rename cannot replace.
mv -fT -- "$new" "$file" 2>/dev/null || { cat "$new" > "$file" && rm -f -- "$new"; }

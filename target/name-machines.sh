# shellcheck shell=sh
# Writes lines to /etc/hosts, so that a machine without a closure of the network finds the others by name. The first
# activation then owns these lines: on NixOS, each activation and boot puts its own link in the place of the file.
# Values: file (/etc/hosts), hosts (lines of an address and a name).
: "${file:?}" "${hosts:?}"
old=$(readlink -f -- "$file") || exit 1
case $old in
  /nix/store/*)
    # A file would hide the names of later systems where /etc is an overlay.
    case $(readlink -- "$file") in
      /etc/static/*) ;;
      *) exit 0 ;;
    esac
    ;;
  *) file=$old ;;
esac
new=$file.hydra-ops-new
if [ -e "$old" ]; then cp -p -- "$old" "$new"; else : > "$new" && chmod 0644 "$new"; fi || exit 1
# A file in the Nix store is read-only.
[ "$file" = "$old" ] || chmod 0644 "$new" || exit 1
step 'the file is copied'
{
  if [ -e "$old" ]; then
    sed '/^# hydra-ops: begin$/,/^# hydra-ops: end$/d' "$old" || exit 1
    [ -z "$(tail -c 1 -- "$old")" ] || echo
  fi
  printf '%s\n' '# hydra-ops: begin' "$hosts" '# hydra-ops: end'
} > "$new" || exit 1
sync "$new"
step 'the copy has the names'
# The file of a container is a mount, which a rename cannot replace.
mv -fT -- "$new" "$file" 2>/dev/null || { [ ! -L "$file" ] && cat "$new" > "$file" && rm -f -- "$new"; }

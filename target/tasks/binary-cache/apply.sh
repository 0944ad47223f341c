# shellcheck shell=sh
# Creates the folder of the static cache, and a file that names its store.
# Values: directory, owner and group (of the folder), least_kib (the least free space).
# Exit status 3: the folder holds other files; 4: the disk is full.
#
# The queue runner writes nix-cache-info only at its start (measured). Clients would otherwise find no such file until
# then.
: "${directory:?}" "${owner:?}" "${group:?}" "${least_kib:?}"
if [ -d "$directory" ] && [ "$(stat -Lc %U -- "$directory")" != "$owner" ]; then
  # The names in the result are only matched, and are never used as paths.
  others=$(find "$directory/" -mindepth 1 -maxdepth 1 ! -name lost+found -printf '%f\n')
  [ -z "$others" ] || printf '%s\n' "$others" | grep -q '^nix-cache-info$\|\.narinfo$' || exit 3
fi
install -d -m 0755 -o "$owner" -g "$group" -- "$directory" || exit 1
step 'the folder is there'
has_room "$directory" "$least_kib" || exit 4
if [ "$(store_of "$directory")" != /nix/store ]; then
  new=$directory/.nix-cache-info.hydra-ops
  printf 'StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n' > "$new" || exit 1
  step 'nix-cache-info is written'
  chown "$owner:$group" -- "$new" || exit 1
  chmod 0644 -- "$new" || exit 1
  sync "$new" || exit 1
  step 'its owner is right'
  mv -fT -- "$new" "$directory/nix-cache-info" || exit 1
  step 'nix-cache-info is in place'
fi

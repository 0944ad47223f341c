# shellcheck shell=sh
# Functions for the scripts about the folder of the static cache.

# Prints the store whose paths the cache of a folder has.
store_of() { sed -n 's/^StoreDir: //p' "$1/nix-cache-info" 2>/dev/null; }

# Fails, and says why, where the disk of a folder has less room than this number of KiB.
has_room() {
  free=$(df -Pk -- "$1" | awk 'NR == 2 { print $4 }')
  [ "$free" -lt "$2" ] || return 0
  echo "only $free KiB are free" >&2
  return 1
}

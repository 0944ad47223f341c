# shellcheck shell=sh
# Functions for the scripts about the folder of the static cache.

# Prints the store directory of the cache in a folder.
store_of() {
  [ -r "$1/nix-cache-info" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    case $line in 'StoreDir: '*) printf '%s\n' "${line#StoreDir: }" ;; esac
  done < "$1/nix-cache-info"
}

# Fails, and reports why, if the disk of folder $1 has less than $2 KiB free.
has_room() {
  free=$(df -Pk -- "$1" | awk 'NR == 2 { print $4 }')
  [ "$free" -lt "$2" ] || return 0
  echo "only $free KiB are free" >&2
  return 1
}

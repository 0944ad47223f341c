# shellcheck shell=sh
# Puts files into place, all of them or none. Every file is written completely beside its destination before the first
# rename.
# Values: files, records of path, path beside it, user, group, mode, whether the owner may be missing (yes, no), mode
# and group of a folder that is created.
# Standard input: for each file its size on a line, then its bytes.
# Prints `ownerless INDEX` for a file that belongs to root because its owner is missing, and `failed INDEX WHY` for a
# file that failed.
#
# Owner and mode are set through the descriptor, so no other writer of the folder can swap the file meanwhile. The
# command `head -c` reads exactly its number of bytes, so the next size stays intact.
: "${files:?}"
umask 022

failed() {
  printf 'failed %s %s\n' "$index" "$1"
  return 1
}

make_folder() {
  folder=${path%/*}
  folder=${folder:-/}
  [ -d "$folder" ] && return 0
  getent group -- "$folder_group" > /dev/null || groupadd --system -- "$folder_group" || return 1
  # shellcheck disable=SC2174 # The mode is for the last folder alone.
  mkdir -p -m "$folder_mode" -- "$folder" || return 1
  [ "$(stat -c %G -- "$folder")" = "$folder_group" ] || chgrp -- "$folder_group" "$folder"
}

write_staged() (
  umask 077
  rm -f -- "$staged" || exit 1
  set -C
  exec 4> "$staged" || exit 1
  chown "$uid:$gid" /proc/self/fd/4 || exit 1
  chmod "$mode" /proc/self/fd/4 || exit 1
  head -c "$size" >&4 || exit 1
  [ "$(stat -L -c %s /proc/self/fd/4)" = "$size" ] || exit 1
  sync /proc/self/fd/4
)

stage() {
  IFS= read -r size || { failed 'its content did not arrive'; return 1; }
  if [ -d "$path" ] && [ ! -L "$path" ]; then failed 'a directory is in its place'; return 1; fi
  make_folder || { failed 'its directory could not be made'; return 1; }
  uid=$(user_id "$user") gid=$(group_id "$group")
  if [ -z "$uid" ] || [ -z "$gid" ]; then
    if [ "$may_be_missing" = no ]; then
      if [ -z "$uid" ]; then missing="user '$user'"; else missing="group '$group'"; fi
      failed "the machine has no $missing"
      return 1
    fi
    uid=0 gid=0 mode=0600
    printf 'ownerless %s\n' "$index"
  fi
  write_staged || failed 'it could not be written completely'
}

# Runs the step $1 for each file, until one fails. Descriptor 3 supplies the list, because standard input supplies the
# contents.
each_file() {
  index=0
  while IFS=: read -r path staged user group mode may_be_missing folder_mode folder_group <&3; do
    decode path staged user group folder_group
    case $1 in
      stage) stage || return 1 ;;
      place) mv -fT -- "$staged" "$path" || { failed 'it could not be renamed into place'; return 1; } ;;
      sync) sync -- "${staged%/*}/" ;;
      discard) rm -f -- "$staged" ;;
    esac
    step "$1 $path"
    index=$((index + 1))
  done 3<<END
$files
END
}

if each_file stage && each_file place; then
  each_file sync
  exit 0
fi
each_file discard
exit 1

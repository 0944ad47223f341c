# shellcheck shell=sh
# Functions for folders of keys.
# Values: made_as, the `stat -c '%u %G %a'` of a folder that hydra-ops (or NixOps) created.

# Tells whether hydra-ops created folder $1.
ours() { [ "$(stat -c '%u %G %a' -- "$1" 2>/dev/null)" = "${made_as:?}" ]; }

# Tells whether folder $1 keeps out a process that may enter the parent folder. The function's other arguments
# describe the process for setpriv. A real attempt also covers ACLs; the script exits if no attempt is possible.
kept_out() {
  inside=$1 above=${1%/*}
  shift
  # shellcheck disable=SC2016 # The inner shell expands it.
  setpriv "$@" sh -c 'if [ -x "$1" ] && [ ! -x "$2" ]; then exit 9; fi' sh "${above:-/}" "$inside"
  tried=$?
  case $tried in 0) return 1 ;; 9) return 0 ;; *) exit $tried ;; esac
}

shut_to_user() {
  uid=$(user_id "$2")
  if [ -z "$uid" ] || [ "$uid" = 0 ]; then return 1; fi
  if own=$(id -g -- "$2" 2>/dev/null); then
    kept_out "$1" --reuid "$uid" --regid "$own" --init-groups
  else
    kept_out "$1" --reuid "$uid" --regid 65534 --clear-groups
  fi
}

shut_to_group() {
  gid=$(group_id "$2")
  if [ -z "$gid" ] || [ "$gid" = 0 ]; then return 1; fi
  kept_out "$1" --reuid 65534 --regid "$gid" --clear-groups
}

# Tells whether folder $1 keeps out user $2 or group $3. The group counts only if $4 is yes: the group may read the key.
shut() { shut_to_user "$1" "$2" || { [ "$4" = yes ] && shut_to_group "$1" "$3"; }; }

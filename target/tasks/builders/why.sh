# shellcheck shell=sh
# Looks at everything that decides where a derivation is built. Nothing changes.
# Values:
#   derivation  path of the derivation
#   file        file of this host with the text of the derivation
#   store       NIX_REMOTE
#   runs        yes for a queue runner, else no
#   asks        user whose trust counts; empty means the current user
#   lists       paths of lists for a queue runner whose unit names no lists
#   drained     folder of marks
#   gateway     path of a file that exists only for a queue runner to which builders connect
# Prints:
#   nix=none        if Nix is missing, and then nothing else
#   version=        the output of nix --version
#   derivation=     the text of the derivation in base64
#   built=          yes or no
#   builders= …     settings of the daemon, by their names
#   user-builders=  the setting `builders` of the current user
#   user=, group=   the user whose trust counts, and the user's groups
#   host=           the name of this host
#   file=           a list in base64, and its path; `-` for a missing list, `!` for an unreadable one
#   busy=           the lock of a slot in use
#   drained=        a drained builder
#   gateway=        yes, if the file `gateway` exists
: "${derivation:?}" "${file:?}" "${store:?}" "${runs:?}" "${asks?}" "${lists?}" "${drained:?}" "${gateway:?}"
cd / || exit 1
command -v nix-store > /dev/null || { say nix none && exit 0; }
NIX_REMOTE=$store && export NIX_REMOTE
say version "$(nix --version 2> /dev/null | head -n 1)"

# Nix holds a lock on one file for each build on a builder.
for each in /nix/var/nix/current-load/*-*; do
  inode=$(stat -c %i -- "$each" 2>/dev/null) || continue
  grep -q "FLOCK .*:$inode " /proc/locks 2>/dev/null && say busy "${each##*/}"
done
for each in "$drained"/*; do
  [ ! -f "$each" ] || say drained "${each##*/}"
done
split_by_line

coded_file() { base64 < "$1" 2>/dev/null | tr -d '\n'; }
setting() { printf '%s\n' "$2" | sed -n "s/^$1 = //p" | head -n 1; }
files_in() { printf '%s\n' "$1" | tr ';' '\n' | sed -n 's/^[[:space:]]*@//p' | sed 's/[[:space:]]*$//'; }
# Says whether a file exists, or may exist in a folder that this user may not enter.
is_shut() {
  [ ! -e "$1" ] || return 0
  above=${1%/*}
  while [ -n "$above" ] && [ ! -e "$above" ]; do above=${above%/*}; done
  [ -d "${above:-/}" ] && [ ! -x "${above:-/}" ]
}
show_files() {
  for each do
    if [ -r "$each" ]; then
      say file "$(coded_file "$each") $each"
    elif is_shut "$each"; then
      say file "! $each"
    else
      say file "- $each"
    fi
  done
}

if [ -r "$file" ]; then say derivation "$(coded_file "$file")"; fi
if outputs=$(nix-store --query --outputs "$derivation" 2>/dev/null) && [ -n "$outputs" ]; then
  built=yes
  for each in $outputs; do nix-store --check-validity "$each" 2>/dev/null || built=no; done
  say built "$built"
fi

# The daemon does not read the configuration files of this user.
of_daemon=$(unset NIX_CONFIG; NIX_USER_CONF_FILES=/dev/null && export NIX_USER_CONF_FILES; settings_of_nix)
for each in builders max-jobs system extra-platforms system-features trusted-users; do
  say "$each" "$(setting "$each" "$of_daemon")"
done
of_user=$(setting builders "$(settings_of_nix)")
say user-builders "$of_user"

asks=${asks:-$(id -un)}
say user "$asks"
for each in $(id -Gn -- "$asks" | tr ' ' '\n'); do say group "$each"; done
say host "$(uname -n)"

if [ "$runs" = yes ]; then
  named=$(systemctl show --property=Environment --value hydra-queue-runner.service 2>/dev/null |
    tr ' ' '\n' | sed -n 's/^NIX_REMOTE_SYSTEMS=//p')
  # shellcheck disable=SC2046,SC2086 # each line is one path
  if [ -n "$named" ]; then show_files $(printf '%s' "$named" | tr ':' '\n'); else show_files $lists; fi
else
  # shellcheck disable=SC2046 # each line is one path
  show_files $( (files_in "$(setting builders "$of_daemon")"; files_in "$of_user") | sort -u)
fi

[ ! -e "$gateway" ] || say gateway yes

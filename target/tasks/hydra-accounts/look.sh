# shellcheck shell=sh
# Looks at the users and folders of Hydra.
# Values: group (of Hydra), socket_group (that may use the Nix daemon), users (records of name and home), directories
# (records of path, mode and user).
# Prints `group=absent` where the group does not exist, and `wrong=` with a sentence for each fault.
: "${group:?}" "${socket_group:?}" "${users:?}" "${directories:?}"
getent group "$group" > /dev/null || say group absent
while IFS=: read -r name _; do
  decode name
  if ! id -u -- "$name" > /dev/null 2>&1; then
    say wrong "user $name is missing"
  elif [ "$(id -gn -- "$name")" != "$group" ]; then
    say wrong "user $name is not of group $group"
  elif ! id -Gn -- "$name" | tr ' ' '\n' | grep -qx "$socket_group"; then
    say wrong "user $name is not in group $socket_group"
  fi
done <<END
$users
END
while IFS=: read -r path mode user; do
  decode path
  seen=$(stat -Lc '%a %U %G' -- "$path" 2>/dev/null) || seen=missing
  [ "$seen" = "$mode $user $group" ] || say wrong "$path is $seen"
done <<END
$directories
END
exit 0

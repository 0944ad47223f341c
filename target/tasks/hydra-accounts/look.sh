# shellcheck shell=sh
# Looks at the users and folders of Hydra.
# Values: group (of Hydra), socket_group (that may use the Nix daemon), users (records of name and home), directories
# (records of path, mode and user).
# Prints `group=absent` if the group does not exist, and `wrong=` with a sentence for each fault.
: "${group:?}" "${socket_group:?}" "${users:?}" "${directories:?}"
split_by_line
# Sets `fields` to the users' names, or to the paths of the folders, one per line.
first_fields() {
  fields=''
  while IFS=: read -r field _; do
    decode field
    fields="$fields
$field"
  done <<END
$1
END
}
# A single call covers all users, and another call all folders. Each deviation is then examined by a separate call.
first_fields "$users"
# shellcheck disable=SC2086 # A list: one word a line.
accounts=$(id -- $fields 2> /dev/null)
first_fields "$directories"
# shellcheck disable=SC2086 # A list: one word a line.
folders=$(stat -Lc '%a %U %G %n' -- $fields 2> /dev/null)
# Tells whether the account of user $1 is correct. A line is `uid=1(USER) gid=2(GROUP) groups=2(GROUP),3(GROUP)`.
is_right() {
  for account in $accounts; do
    case $account in
      uid=*"($1) gid="*"($group) groups="*"($socket_group)"*) return 0 ;;
    esac
  done
  return 1
}
# A correct account proves that the group exists.
right=no
while IFS=: read -r name _; do
  decode name
  if is_right "$name"; then
    right=yes
  elif ! id -u -- "$name" > /dev/null 2>&1; then
    say wrong "user $name is missing"
  elif [ "$(id -gn -- "$name")" != "$group" ]; then
    say wrong "user $name is not of group $group"
  elif ! id -Gn -- "$name" | tr ' ' '\n' | grep -qx "$socket_group"; then
    say wrong "user $name is not in group $socket_group"
  fi
done <<END
$users
END
[ "$right" = yes ] || getent group "$group" > /dev/null || say group absent
while IFS=: read -r path mode user; do
  decode path
  case "
$folders
" in *"
$mode $user $group $path
"*) continue ;; esac
  seen=$(stat -Lc '%a %U %G' -- "$path" 2>/dev/null) || seen=missing
  [ "$seen" = "$mode $user $group" ] || say wrong "$path is $seen"
done <<END
$directories
END
exit 0

# shellcheck shell=sh
# Lets the owners of keys into the folders that we made, by ACL entries that allow entering alone.
# Values: folders, records of path and of the word for it in tmpfiles.d(5) (empty where there is none); keys, records of
# folder, number, user, group, whether the group may read it (yes, no); made_as; list_group (its members may list).
# Prints the number of each key whose owner stays shut out.
#
# The program of the package acl works in every folder, but is rarely installed. systemd's program is always installed,
# but refuses paths in another user's folder.
: "${folders:?}" "${keys?}" "${made_as:?}" "${list_group:?}"
base=u::rwx,g::r-x,o::---

set_acl() (
  if ! cd -P -- "$folder" || ! ours .; then return 0; fi
  whole=$acl
  [ "$acl" = $base ] || whole=$acl,m::r-x
  if command -v setfacl > /dev/null 2>&1 && setfacl --set "$whole" .; then return 0; fi
  [ -z "$word" ] || printf 'a %s - - - - %s\n' "$word" "$whole" | systemd-tmpfiles --create -
)

add_entry() { case ",$acl," in *",$1,"*) ;; *) acl=$acl,$1 ;; esac; }

# Tells whether a user may list the folder as a member. An entry for the user alone removes that right.
is_member() { id -nG -- "$1" 2>/dev/null | tr ' ' '\n' | grep -qxF "$list_group"; }

add_entries() {
  uid=$(user_id "$user") gid=$(group_id "$group")
  if [ -n "$uid" ] && [ "$uid" != 0 ] && ! is_member "$user"; then add_entry "u:$uid:--x"; fi
  if [ "$group_reads" = yes ] && [ -n "$gid" ] && [ "$gid" != 0 ] && [ "$group" != "$list_group" ]; then
    add_entry "g:$gid:--x"
  fi
}

# Runs one of the steps below for each key.
each_key() {
  while IFS=: read -r inside number user group group_reads <&4; do
    [ -n "$inside" ] || continue
    decode inside user group
    case $1 in
      add) [ "$inside" != "$folder" ] || add_entries ;;
      try) if ours "$inside" && shut "$inside" "$user" "$group" "$group_reads"; then echo "$number"; fi ;;
    esac
  done 4<<END
$keys
END
}

while IFS=: read -r folder word <&3; do
  decode folder word
  acl=$base
  each_key add
  set_acl
done >&2 3<<END
$folders
END
each_key try
exit 0

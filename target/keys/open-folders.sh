# shellcheck shell=sh
# Lets the owners of keys into the folders that hydra-ops created, by ACL entries that only allow entering.
# Values: folders, records of path and of its quoted form for tmpfiles.d(5) (empty if the path cannot be quoted); keys,
# records of folder, number, user, group, whether the group may read the key (yes, no); made_as; list_group (its members
# may list).
# Prints the number of each key whose owner stays shut out.
#
# setfacl works in every folder, but is rarely installed. systemd-tmpfiles is always installed, but refuses paths in
# another user's folder.
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

# Tells whether a user may list the folder as a member. An entry for the user would remove this right.
is_member() { id -nG -- "$1" 2>/dev/null | tr ' ' '\n' | grep -qxF "$list_group"; }

add_entries() {
  uid=$(user_id "$user") gid=$(group_id "$group")
  if [ -n "$uid" ] && [ "$uid" != 0 ] && ! is_member "$user"; then add_entry "u:$uid:--x"; fi
  if [ "$group_reads" = yes ] && [ -n "$gid" ] && [ "$gid" != 0 ] && [ "$group" != "$list_group" ]; then
    add_entry "g:$gid:--x"
  fi
}

# Runs the step $1 (`add` or `try`) for each key.
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

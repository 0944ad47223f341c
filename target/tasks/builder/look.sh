# shellcheck shell=sh
# Looks at the account with which other machines build here, and at the capabilities of this machine.
# Values: user, home (of the user), keys (path of the keys that may log in), group (that may use the Nix daemon).
# Prints `user=` and `home=` (`there` or `absent`), `hash=` (of the keys, `-` if there are no keys), `system=`, `cores=`,
# `kvm=` (yes or no), `made=yes` for a user with that home, and `wrong=` with a sentence for each fault.
: "${user:?}" "${home:?}" "${keys:?}" "${group:?}"
if id -u -- "$user" > /dev/null 2>&1; then
  say user there
  entry=$(getent passwd -- "$user")
  if [ "$(printf %s "$entry" | cut -d: -f6)" = "$home" ]; then say made yes; else say wrong "the home of user $user is not $home"; fi
  case $(printf %s "$entry" | cut -d: -f7) in
    */nologin | */false) say wrong "the login shell of user $user lets nobody in" ;;
  esac
  if is_locked "$user"; then say wrong "user $user is locked"; fi
  # A machine without this group may admit every user to the Nix daemon.
  if getent group -- "$group" > /dev/null; then
    id -Gn -- "$user" | tr ' ' '\n' | grep -qx -- "$group" || say wrong "user $user is not in group $group"
  fi
else
  say user absent
fi
if [ -e "$home" ]; then say home there; else say home absent; fi
say hash "$(hash_of "$keys")"
for folder in "$home" "$home/.ssh"; do
  seen=$(stat -c '%a %U %G' -- "$folder" 2>/dev/null || echo missing)
  [ "$seen" = '755 root root' ] || say wrong "$folder is $seen"
done
say system "$(own_system)"
say cores "$(nproc)"
if [ -w /dev/kvm ]; then say kvm yes; else say kvm no; fi
exit 0

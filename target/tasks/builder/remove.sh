# shellcheck shell=sh
# Removes the account with which other machines built here.
# Values: user, home (of the user), makes_user (true, or false if the machine's configuration creates the user).
#
# Nobody can log in once the keys are removed. A running build belongs to the daemon, but its connection ends.
: "${user:?}" "${home:?}" "${makes_user:?}"
rm -f -- "$home/.ssh/authorized_keys" || exit 1
step 'nobody can log in'
# An account with another home was not made for this purpose.
if [ "$makes_user" = true ] && [ "$(home_of "$user")" = "$home" ]; then
  pkill -KILL -u "$user"
  userdel -- "$user" || exit 1
  step "user $user is gone"
fi
rm -rf -- "$home" || exit 1
step 'the home is gone'
rmdir -- "$(dirname -- "$home")" 2>/dev/null
exit 0

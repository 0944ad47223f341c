# shellcheck shell=sh
# Creates the account with which other machines build here.
# Values: user, home (of the user), group (that may use the Nix daemon), makes_user (true, or false if the machine's
# configuration creates the user).
#
# Root owns the home, so that nobody who logs in can change the keys. The shell is /bin/sh, because nologin answers
# the forced command with a sentence. Nix reads that sentence as a number of its protocol.
: "${user:?}" "${home:?}" "${group:?}" "${makes_user:?}"
umask 022
if [ "$makes_user" = true ]; then
  # The account of a person would otherwise lose its home, and the removal would delete the account.
  if uid=$(id -u -- "$user" 2> /dev/null) && [ "$uid" -ge 1000 ] && [ "$(home_of "$user")" != "$home" ]; then
    echo "user $user exists already, with the home $(home_of "$user"); choose another deployment.builder.sshUser" >&2
    exit 1
  fi
  getent group -- "$group" > /dev/null || groupadd --system -- "$group" || exit 1
  step "group $group is there"
  id -u -- "$user" > /dev/null 2>&1 ||
    useradd --system --user-group --home-dir "$home" --no-create-home --shell /bin/sh -- "$user" || exit 1
  step "user $user is there"
  [ "$(getent passwd -- "$user" | cut -d: -f6,7)" = "$home:/bin/sh" ] ||
    usermod --home "$home" --shell /bin/sh -- "$user" || exit 1
  # An sshd without PAM rejects locked accounts. The hash `*` matches no password, but does not lock the account.
  ! is_locked "$user" || usermod --password '*' -- "$user" || exit 1
  step "user $user is not locked"
  usermod --append --groups "$group" -- "$user" || exit 1
  step "user $user has its group"
fi
id -u -- "$user" > /dev/null || exit 1
install -d -m 0755 -o root -g root -- "$(dirname -- "$home")" "$home" "$home/.ssh" || exit 1
step 'the home is there'

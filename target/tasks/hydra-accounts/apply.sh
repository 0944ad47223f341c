# shellcheck shell=sh
# Creates the users and folders of Hydra.
# Values: group (of Hydra), socket_group (that may use the Nix daemon), users (records of name and home), directories
# (records of path, mode and user).
#
# `install -d` sets owner and mode of an existing folder too; the folder's content stays unchanged.
: "${group:?}" "${socket_group:?}" "${users:?}" "${directories:?}"
for each in "$group" "$socket_group"; do
  getent group "$each" > /dev/null || groupadd --system "$each" || exit 1
  step "group $each is there"
done
while IFS=: read -r name home; do
  decode name home
  id -u -- "$name" > /dev/null 2>&1 ||
    useradd --system --gid "$group" --home-dir "$home" --no-create-home --shell /usr/sbin/nologin -- "$name" || exit 1
  step "user $name is there"
  [ "$(id -gn -- "$name")" = "$group" ] || usermod --gid "$group" -- "$name" || exit 1
  usermod --append --groups "$socket_group" -- "$name" || exit 1
  step "user $name has its groups"
done <<END
$users
END
while IFS=: read -r path mode user; do
  decode path
  install -d -m "$mode" -o "$user" -g "$group" -- "$path" || exit 1
  step "$path is there"
done <<END
$directories
END

# shellcheck shell=sh
# Creates the key pair with which this machine logs in to its builders, if none exists.
# Values: key (path of the private key), directory (its folder), user and group (the owners), comment (of a new key).
#
# The public file is always derived from the private one, so a crash between the two files does no harm.
: "${key:?}" "${directory:?}" "${user:?}" "${group:?}" "${comment:?}"
id -u -- "$user" > /dev/null || exit 1
# The queue runner must be able to enter the parent folders.
parent=$(dirname -- "$directory")
(umask 022 && mkdir -p -- "$parent") || exit 1
chmod go+x -- "$parent" || exit 1
step 'the way to the folder is open'
umask 077
[ -d "$directory" ] || mkdir -- "$directory" || exit 1
step 'the folder is there'
if [ ! -s "$key" ]; then
  rm -f -- "$key.new" "$key.new.pub"
  ssh-keygen -q -t ed25519 -N '' -C "$comment" -f "$key.new" < /dev/null || exit 1
  step 'a key is made'
  rm -f -- "$key.new.pub"
  sync "$key.new"
  mv -fT -- "$key.new" "$key" || exit 1
  step 'the key is in place'
fi
chmod 0600 -- "$key" || exit 1
public=$(ssh-keygen -y -P '' -f "$key" < /dev/null) || {
  echo "$key is not an ssh private key without a passphrase; the file was not touched" >&2
  exit 1
}
printf '%s\n' "$public" | replace_file "$key.pub" || exit 1
chmod 0644 -- "$key.pub" || exit 1
step 'the public key is in place'
chown -- "$user:$group" "$key" "$key.pub" || exit 1
chown -- "root:$group" "$directory" || exit 1
chmod 0750 -- "$directory" || exit 1
step 'the owners are right'
sync "$directory"

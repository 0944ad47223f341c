# shellcheck shell=sh
# Creates a signing key if none exists, and sets the owners and modes of its files.
# Values: secret and public (paths), directory (their folder; empty if the folder belongs to the user), name (of a new
# key), group (that may sign).
# Exit status 3: the group does not exist.
#
# The public file is always derived from the secret one, so a crash between the two files does no harm.
: "${secret:?}" "${public:?}" "${directory?}" "${name:?}" "${group:?}"
folder=$(dirname -- "$secret")
getent group -- "$group" > /dev/null || exit 3
umask 022
mkdir -p -- "$folder" "$(dirname -- "$public")" || exit 1
step 'the folders are there'
umask 077
staged=$folder/.hydra-ops-new
rm -rf -- "$staged"
mkdir -- "$staged" || exit 1
trap 'rm -rf -- "$staged"' EXIT
step 'a folder for new files is there'
if [ ! -s "$secret" ]; then
  nix-store --generate-binary-cache-key "$name" "$staged/secret" "$staged/unused" || exit 1
  step 'a key is made'
  is_key "$staged/secret" || exit 1
  chown "root:$group" "$staged/secret" || exit 1
  chmod 0640 "$staged/secret" || exit 1
  step 'its group may read the key'
  sync "$staged/secret"
  mv -fT -- "$staged/secret" "$secret" || exit 1
  step 'the key is in place'
fi
public_of "$secret" > "$staged/public" || exit 1
chmod 0644 "$staged/public" || exit 1
step 'the public key is written'
sync "$staged/public"
mv -fT -- "$staged/public" "$public" || exit 1
step 'the public key is in place'
chown root:root -- "$public" || exit 1
chown "root:$group" -- "$secret" || exit 1
step 'the owners are right'
chmod 0640 -- "$secret" || exit 1
step 'the modes are right'
if [ -n "$directory" ]; then
  chown "root:$group" -- "$directory" || exit 1
  step 'the owner of the folder is right'
  chmod 0750 -- "$directory" || exit 1
fi
sync "$folder"

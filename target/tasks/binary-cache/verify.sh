# shellcheck shell=sh
# Writes to the static cache as its user, and reads the key as each signing user.
# Values: directory, owner (its user), www (the user of the web server), secret (path of the key), least_kib (the least
# free space).
# Exit status 4: the disk is full.
: "${directory:?}" "${owner:?}" "${www:?}" "${secret:?}" "${least_kib:?}"
cd / || exit 1
has_room "$directory" "$least_kib" || exit 4
file=$directory/.hydra-ops-test
if ! head -c 65536 /dev/zero | runuser -u "$owner" -- tee -- "$file" > /dev/null; then
  rm -f -- "$file"
  exit 1
fi
rm -f -- "$file"
for user in "$owner" "$www"; do
  runuser -u "$user" -- test -r "$secret" || {
    echo "$user cannot read $secret" >&2
    exit 1
  }
done

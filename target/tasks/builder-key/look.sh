# shellcheck shell=sh
# Looks at the key pair with which this machine logs in to its builders.
# Values: key (path of the private key), directory (its folder), user and group (the owners), comment (not used).
# Prints `key=absent` if no key exists, `public=` (the public key, derived from the private one), and `wrong=` with a
# sentence for each fault.
: "${key:?}" "${directory:?}" "${user:?}" "${group:?}"
if [ ! -s "$key" ]; then
  say key absent
  exit 0
fi
public=$(ssh-keygen -y -P '' -f "$key" 2>/dev/null < /dev/null | cut -d' ' -f1,2)
say public "$public"
[ -n "$public" ] || say wrong "$key is not an ssh private key without a passphrase"
[ "$(cut -d' ' -f1,2 -- "$key.pub" 2>/dev/null)" = "$public" ] || say wrong "$key.pub does not belong to $key"
seen=$(stat -c '%a %U %G' -- "$key")
[ "$seen" = "600 $user $group" ] || say wrong "$key is $seen"
seen=$(stat -c '%a %U %G' -- "$directory")
[ "$seen" = "750 root $group" ] || say wrong "$directory is $seen"
if [ "$(id -un)" != "$user" ]; then
  (cd / && runuser -u "$user" -- test -r "$key") || say wrong "user $user may not read $key"
fi
exit 0

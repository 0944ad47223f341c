# shellcheck shell=sh
# Reads the state of the signing key and of the access to it.
# Values: secret and public (paths), directory (their folder; empty if the folder belongs to the user).
# Prints `secret=` (absent, broken, key), `derived=` (the public key that belongs to the secret key), `published=`
# (the key in the public file), and one `mode=` (mode, user, group; `-` if it is missing) for folder, secret and
# public file.
: "${secret:?}" "${public:?}" "${directory?}"
if [ ! -s "$secret" ]; then
  say secret absent
else
  derived=$(public_of "$secret")
  # The public key is complete only if the secret key has 64 bytes.
  if is_public "$derived"; then
    say secret key
    say derived "$derived"
  else
    say secret broken
  fi
fi
published=''
if [ -r "$public" ]; then IFS= read -r published < "$public"; fi
say published "$published"
if modes=$(stat -c '%a %U %G' -- "$directory" "$secret" "$public" 2>/dev/null); then
  split_by_line
  for mode in $modes; do say mode "$mode"; done
else
  for file in "$directory" "$secret" "$public"; do
    say mode "$(stat -c '%a %U %G' -- "$file" 2>/dev/null || echo -)"
  done
fi
exit 0

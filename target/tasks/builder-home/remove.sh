# shellcheck shell=sh
# Removes the forced command of a Nix installation in a home directory, and the keys that may use the command. Other
# lines of authorized_keys stay.
# Values: user (the owner of the home).
: "${user:?}"
check_user "$user"
umask 077
if [ -n "$(lines_of_keys yes)" ]; then
  lines_of_keys no | replace_file "${keys_file:?}" || exit 1
  step 'nobody can log in'
fi
# A killed set-up may have left the new script beside the old one.
rm -f -- "${script:?}" "$script.new" || exit 1
step 'the script is gone'
rmdir -- "$(dirname -- "${script:?}")" 2>/dev/null
exit 0

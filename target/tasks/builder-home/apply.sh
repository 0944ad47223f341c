# shellcheck shell=sh
# Places the forced command of a Nix installation in a home directory, and lets keys use the command. Other lines of
# authorized_keys stay.
# Values: user (the owner of the home), keys (one public key with its comment per line).
# Standard input: the script of the forced command.
: "${user:?}" "${keys?}"
split_by_line
check_user "$user"
umask 077
mkdir -p -- "$(dirname -- "${script:?}")" "$HOME/.ssh" || exit 1
step 'the folders are there'
replace_file "${script:?}" || exit 1
step 'the script is there'
chmod 0755 -- "${script:?}" || exit 1
step 'the script can run'
{
  lines_of_keys no
  for each in $keys; do printf 'restrict,command="%s" %s\n' "${script:?}" "$each"; done
} | replace_file "${keys_file:?}" || exit 1
step 'the keys are there'

# shellcheck shell=sh
# Runs a program as the user of Hydra, from a folder that this user may enter. The output goes to stderr, and must not
# hold a secret.
# Values: folder, hydra_user, command (records of one word).
# Standard input: the input of the program.
: "${folder:?}" "${hydra_user:?}" "${command:?}"
cd "$folder" || exit 1
as_hydra_user || exit
step 'the program has ended'

# shellcheck shell=sh
# Creates the folder of proofs, and removes earlier proofs, which are no longer needed.
# Values: folder.
# Prints `system=`, the system that the machine builds for.
: "${folder:?}"
mkdir -p -- "$folder" || exit 1
chmod 0755 -- "$folder" || exit 1
step 'the folder is there'
find "$folder" -mindepth 1 -maxdepth 1 -type d -exec rm -rf -- {} +
say system "$(own_system)"

# shellcheck shell=sh
# Notes, before a file of settings changes, that the daemon must restart. The note survives an interrupted attempt.
# Values: settings (path of the file), wanted (its future hash).
: "${settings:?}" "${wanted:?}"
[ "$(hash_of "$settings")" != "$wanted" ] || exit 0
note_due nix-daemon-restart || exit 1
step 'the restart is noted'

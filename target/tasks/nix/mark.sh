# shellcheck shell=sh
# Notes, before the settings of Nix change, that the daemon must restart. The note survives an interrupted attempt.
# Values: settings (path of hydra-ops's settings), wanted (their hash), include (the line of nix.conf that reads
# them).
# Prints `nix=` with its version, and `stale=yes` if the settings differ. Prints nothing without Nix.
: "${settings:?}" "${wanted:?}" "${include:?}"
say_version || exit 0
stale=no
[ "$(hash_of "$settings")" = "$wanted" ] || stale=yes
say stale "$stale"
if [ "$stale" = yes ] || ! includes "$include"; then
  note_due nix-daemon-restart || exit 1
  step 'the restart is noted'
fi

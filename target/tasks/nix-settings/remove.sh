# shellcheck shell=sh
# Removes a file of further Nix settings and the other files of its task, and restarts the daemon when due.
# Values: settings (path of the file), others (paths).
: "${settings:?}" "${others?}"
split_by_line
if [ -e "$settings" ]; then
  note_due nix-daemon-restart || exit 1
  step 'the restart is noted'
  rm -f -- "$settings" || exit 1
  step 'the settings are gone'
fi
for each in $others; do
  rm -f -- "$each" || exit 1
  step "$each is gone"
done
restart_daemon

# shellcheck shell=sh
# Functions for the scripts about further settings of Nix. The set-up task "nix" uses the same note of a due restart.

# Restarts the daemon if its settings changed. The daemon reads its settings only at its start.
restart_daemon() {
  is_due nix-daemon-restart || return 0
  systemctl try-restart nix-daemon.service || return 1
  step 'the daemon is restarted'
  forget_due nix-daemon-restart
  step 'the restart is forgotten'
}

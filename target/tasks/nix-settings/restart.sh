# shellcheck shell=sh
# Restarts the Nix daemon if its settings changed.
restart_daemon

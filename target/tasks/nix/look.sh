# shellcheck shell=sh
# Looks at Nix, its settings, its daemon and the schedule of the garbage collection.
# Values: settings (path of our settings), include (the line of nix.conf that reads them), gc (name of the units of the
# garbage collection).
# Prints `nix=` with its version, `settings=`, `gc-service=` and `gc-timer=` (hash, `-` where the file is missing),
# `include=` (yes, no), `restart=` (due, no), `socket=`, `gc-active=` and `enabled=` in the words of systemd.
: "${settings:?}" "${include:?}" "${gc:?}"
say_version
say settings "$(hash_of "$settings")"
if includes "$include"; then say include yes; else say include no; fi
if is_due nix-daemon-restart; then say restart due; else say restart no; fi
systemctl is-active nix-daemon.socket "$gc.timer" 2>/dev/null | {
  read -r socket
  read -r timer
  say socket "$socket"
  say gc-active "$timer"
}
say enabled "$(systemctl is-enabled nix-daemon.socket 2>/dev/null)"
say gc-service "$(hash_of "/etc/systemd/system/$gc.service")"
say gc-timer "$(hash_of "/etc/systemd/system/$gc.timer")"
exit 0

# shellcheck shell=sh
# Looks at Nix, its settings, its daemon and the schedule of the garbage collection.
# Values: settings (path of hydra-ops's settings), include (the line of nix.conf that reads them), gc (name of the
# units of the garbage collection), record (of an earlier start of Nix).
# Prints `nix=` with its version, and `settings=`, `gc-service=` and `gc-timer=` (hash, nothing for a missing file).
# Prints `include=` (yes, no), `restart=` (due, no), and `socket=`, `gc-active=` and `enabled=` in the words of
# systemd.
#
# A start of Nix takes a quarter of a look's time, so an unchanged Nix is not started again.
: "${settings:?}" "${include:?}" "${gc:?}" "${record:?}"
if version=$(recorded_version "$record"); then say nix "$version"; else say_version; fi
service=/etc/systemd/system/$gc.service timer=/etc/systemd/system/$gc.timer
sha256sum -- "$settings" "$service" "$timer" 2>/dev/null | while read -r hash path; do
  case $path in
    "$settings") say settings "$hash" ;;
    "$service") say gc-service "$hash" ;;
    "$timer") say gc-timer "$hash" ;;
  esac
done
if includes "$include"; then say include yes; else say include no; fi
if is_due nix-daemon-restart; then say restart due; else say restart no; fi
systemctl is-active nix-daemon.socket "$gc.timer" 2>/dev/null | {
  read -r of_socket
  read -r of_timer
  say socket "$of_socket"
  say gc-active "$of_timer"
}
say enabled "$(systemctl is-enabled nix-daemon.socket 2>/dev/null)"
exit 0

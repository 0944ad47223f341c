# shellcheck shell=sh
# Makes nix.conf include the settings of hydra-ops, and sets up the schedule of the garbage collection. Restarts the
# daemon when due.
# Values: include (the line of nix.conf), gc (name of the units of the garbage collection), automatic (true if a
# schedule is wanted).
#
# nix.conf belongs to Debian and perhaps to the user. The script only adds the line `include`, in a copy that replaces
# the file.
: "${include:?}" "${gc:?}" "${automatic:?}"
conf=/etc/nix/nix.conf
if ! includes "$include"; then
  new=$conf.hydra-ops-new
  rm -f -- "$new"
  if [ -e "$conf" ]; then cp -p -- "$conf" "$new" || exit 1; fi
  step 'nix.conf is copied'
  [ -z "$(tail -c 1 -- "$new" 2>/dev/null)" ] || echo >> "$new"
  printf '%s\n' "$include" >> "$new" || exit 1
  step 'the copy includes our settings'
  sync "$new"
  mv -f -- "$new" "$conf" || exit 1
  step 'nix.conf includes our settings'
fi
if [ "$automatic" = false ]; then
  if [ -e "/etc/systemd/system/$gc.timer" ] || [ -e "/etc/systemd/system/$gc.service" ]; then
    systemctl --quiet --no-reload disable --now "$gc.timer"
    step 'the garbage collection is stopped'
    rm -f -- "/etc/systemd/system/$gc.timer" "/etc/systemd/system/$gc.service"
    step 'the garbage collection is removed'
    systemctl daemon-reload || exit 1
  fi
else
  systemctl daemon-reload || exit 1
  step 'systemd has read its units'
  systemctl --quiet --no-reload enable "$gc.timer" || exit 1
  step 'the garbage collection is enabled'
  systemctl restart "$gc.timer" || exit 1
fi
step 'the garbage collection is set up'
if [ "$(systemctl is-active nix-daemon.socket)" != active ]; then
  systemctl reset-failed nix-daemon.service nix-daemon.socket 2>/dev/null
  # Debian's package starts the service at once, and systemd refuses a socket whose service already runs (measured).
  systemctl stop nix-daemon.service || exit 1
  step 'the daemon is stopped'
fi
enable_unit nix-daemon.socket || exit 1
step 'the socket is enabled'
if is_due nix-daemon-restart; then
  systemctl try-restart nix-daemon.service || exit 1
  step 'the daemon is restarted'
  forget_due nix-daemon-restart
  step 'the restart is forgotten'
fi
systemctl start nix-daemon.socket || exit 1

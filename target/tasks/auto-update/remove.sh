# shellcheck shell=sh
# Removes the timer of the automatic update, its program, and its last result.
# Values: unit (name without its suffix), folder (of the program).
#
# A run in progress continues to its end, because its activation would otherwise stay unfinished.
: "${unit:?}" "${folder:?}"
if [ -e "/etc/systemd/system/$unit.timer" ]; then
  systemctl --quiet --no-reload disable --now "$unit.timer"
  rm -f -- "/etc/systemd/system/$unit.timer" || exit 1
fi
step 'the timer is removed'
rm -f -- "/etc/systemd/system/$unit.service" || exit 1
step 'the service is removed'
systemctl daemon-reload || exit 1
step 'systemd has read its units'
systemctl reset-failed "$unit.service" 2> /dev/null
rm -rf -- "${folder:?}" /var/lib/hydra-ops/auto-update || exit 1
step 'the program is removed'
exit 0

# shellcheck shell=sh
# Sets a timer that starts the guard. `begin` and `switch` run this script with the old system's bash.
# Values: old (system), folder, run. The environment gives deadline_name (a word in the timer's name) and
# deadline_seconds.
#
# The timer uses two clocks, because either can be wrong. `--on-active` starts counting again at each reload of
# systemd (measured).
: "${old:?}" "${folder:?}" "${run:?}" "${deadline_name:?}" "${deadline_seconds:?}"
PATH=$old/sw/bin
read -r uptime _ < /proc/uptime
due=$((${uptime%%.*} + deadline_seconds))
now=$(date +%s)
exec systemd-run --quiet --unit="hydra-ops-guard-$run-$deadline_name" --on-boot="${due}s" \
  --timer-property="OnCalendar=@$((now + deadline_seconds))" --timer-property=AccuracySec=100ms \
  --timer-property=RemainAfterElapse=yes --setenv="due=$due" --property=Type=exec \
  --property=OOMScoreAdjust=-1000 --property=TimeoutStopSec=15min "$old/sw/bin/bash" "$folder/guard"

# shellcheck shell=sh
# Ends a command by its process group, which sshd gives to each command without a terminal.
# Values: pid and group (of the command), mark (a text in its command line, which reveals a reused pid), ticks (time
# in tenths of a second for its processes to end by themselves).
: "${pid:?}" "${group:?}" "${mark:?}" "${ticks:?}"
[ "$group" -gt 1 ] || exit 3
grep -q "$mark" "/proc/$pid/cmdline" 2>/dev/null || exit 0
kill -TERM "-$group" 2>/dev/null
tick=0
while kill -0 "-$group" 2>/dev/null && [ "$tick" -lt "$ticks" ]; do
  sleep 0.1
  tick=$((tick + 1))
done
kill -KILL "-$group" 2>/dev/null
exit 0

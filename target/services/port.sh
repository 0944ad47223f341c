# shellcheck shell=sh
# Finds programs other than a unit's own that listen on a port.
# Values: port, unit (its name).
# Prints `holder=` for each such program.
#
# The control group of the listening process shows its unit. The state of the unit proves nothing: hydra-server is
# active for 20 s before it notices a taken port (measured).
: "${port:?}" "${unit:?}"
ss -Hltnp "sport = :$port" | while IFS= read -r socket; do
  case $socket in
    *'users:(('*) printf '%s\n' "$socket" | sed 's/.*users:((//; s/)).*//; s/),(/\n/g' ;;
    *) echo '"another program"' ;;
  esac
done | while IFS= read -r process; do
  pid=$(printf '%s' "$process" | sed -n 's/.*,pid=\([0-9]*\).*/\1/p')
  name=$(printf '%s' "$process" | cut -d'"' -f2)
  if ! sed 's|$|/|' "/proc/$pid/cgroup" 2>/dev/null | grep -qF "/$unit/"; then
    say holder "$name${pid:+ (process $pid)}"
  fi
done
exit 0

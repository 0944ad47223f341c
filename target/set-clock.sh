# shellcheck shell=sh
# Sets a clock that is behind; a clock that is right, or ahead, stays as it is.
# Values: now (seconds since 1970 by the operator's clock).
: "${now:?}"
behind=$((now - $(date +%s)))
# The transfer of this script takes a moment.
[ "$behind" -gt 2 ] || exit 0
date --utc --set="@$now" >/dev/null || exit 1
printf 'the clock was %s s behind: set\n' "$behind"

# shellcheck shell=sh
# Sets a clock that is slow; leaves a clock that is right or fast.
# Values: now (seconds since 1970 by the operator's clock).
: "${now:?}"
behind=$((now - $(date +%s)))
# A difference of up to 2 s may come from the transfer of this script.
[ "$behind" -gt 2 ] || exit 0
date --utc --set="@$now" >/dev/null || exit 1
printf 'the clock was %s s behind: set\n' "$behind"

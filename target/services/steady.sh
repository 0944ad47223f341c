# shellcheck shell=sh
# Finds units that are down or have just restarted. A failing service with Restart=always is active for a moment after
# each start.
# Values: units (names), steady_for (seconds).
# Prints `wrong=` with a sentence for each.
: "${units?}" "${steady_for:?}"
split_by_line
uptime=$(cut -d. -f1 /proc/uptime)
# shellcheck disable=SC2086 # A list: one word a line.
systemctl show --property=Id,ActiveState,SubState,NRestarts,ActiveEnterTimestampMonotonic -- $units |
  awk -F= -v now="$uptime" -v steady_for="$steady_for" '
    function tell() {
      if (id == "") return
      if (active != "active") print "wrong=" id " is " active " (" sub_state ")"
      else if (restarts > 0 && now - since / 1000000 < steady_for)
        print "wrong=" id " was restarted " restarts " times so far"
      id = ""; restarts = 0
    }
    $1 == "Id" { id = $2 }
    $1 == "ActiveState" { active = $2 }
    $1 == "SubState" { sub_state = $2 }
    $1 == "NRestarts" { restarts = $2 }
    $1 == "ActiveEnterTimestampMonotonic" { since = $2 }
    /^$/ { tell() }
    END { tell() }'
exit 0

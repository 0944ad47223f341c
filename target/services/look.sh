# shellcheck shell=sh
# Looks at the files and units of a set of services. A set has many files and units, so no program is started for each
# item.
# Values: marks (folder of the marks of due restarts), files and obsolete (paths), units (names).
# Prints one `file=` for each file (hash, mode, user, group; `-` if the file is missing), one `unit=` for each unit
# (state, whether it is enabled, whether a restart is due), and `obsolete=` for each path that exists.
: "${marks:?}" "${files?}" "${units?}" "${obsolete?}"
split_by_line
line_feed='
'
# Sets `line` to the first line of a text, and `rest` to the other lines.
first_line() { line=${1%%"$line_feed"*} rest=${1#*"$line_feed"}; }

present=''
for path in $files; do
  [ ! -f "$path" ] || present=$present$path$line_feed
done
if [ -n "$present" ]; then
  # shellcheck disable=SC2086 # A list: one word a line.
  hashes=$(sha256sum -- $present)
  # shellcheck disable=SC2086 # A list: one word a line.
  owners=$(stat -c '%a %U %G' -- $present)
fi
for path in $files; do
  case $line_feed$present in
    *"$line_feed$path$line_feed"*)
      first_line "$hashes"
      hashes=$rest
      # sha256sum writes a backslash before the hash of a file whose name has special characters.
      hash=${line#\\} hash=${hash%% *}
      first_line "$owners"
      owners=$rest
      say file "$hash $line"
      ;;
    *) say file - ;;
  esac
done

# Sets `total` to the number of its arguments.
count_all() { total=$#; }
# Sets `answers` to the answer of systemd for each unit, one per line. A single call covers all existing units.
ask_units() {
  # shellcheck disable=SC2086 # A list: one word a line.
  count_all $units
  wanted=$total
  # shellcheck disable=SC2086 # A list: one word a line.
  answers=$(systemctl "$1" $units 2> /dev/null)
  # shellcheck disable=SC2086 # A list: one word a line.
  count_all $answers
  [ "$total" = "$wanted" ] || answers=$(
    for unit in $units; do printf '%s\n' "$(systemctl "$1" "$unit" 2> /dev/null)"; done
  )
}
if [ -n "$units" ]; then
  ask_units is-active
  active=$answers
  ask_units is-enabled
  enabled=$answers
  for unit in $units; do
    due=no
    [ ! -e "$marks/$unit" ] || due=due
    first_line "$active"
    state=$line active=$rest
    first_line "$enabled"
    enabled=$rest
    say unit "$state $line $due"
  done
fi
for path in $obsolete; do
  [ ! -e "$path" ] || say obsolete "$path"
done
exit 0

# shellcheck shell=sh
# Looks at the files and units of a set of services.
# Values: marks (folder of the marks of due restarts), files and obsolete (paths), units (names).
# Prints one `file=` for each file (hash, mode, user, group; `-` where it is missing), one `unit=` for each unit (state,
# whether it is enabled, whether a restart is due), and `obsolete=` for each path that exists.
: "${marks:?}" "${files?}" "${units?}" "${obsolete?}"
split_by_line
for path in $files; do
  if [ -f "$path" ]; then
    say file "$(sha256sum < "$path" | cut -d' ' -f1) $(stat -c '%a %U %G' -- "$path")"
  else
    say file -
  fi
done
for unit in $units; do
  due=no
  [ ! -e "$marks/$unit" ] || due=due
  say unit "$(systemctl is-active "$unit" 2>/dev/null) $(systemctl is-enabled "$unit" 2>/dev/null) $due"
done
for path in $obsolete; do
  [ ! -e "$path" ] || say obsolete "$path"
done
exit 0

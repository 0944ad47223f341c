# shellcheck shell=sh
# Drains a builder before its reboot, or restores its number of jobs afterwards. The set-up task writes the same
# lists, so a deploy finds nothing to do.
# Values:
#   lists    paths of the lists of builders, some of which may be missing
#   drained  folder of marks
#   name     name of the builder
#   login    USER@HOST of the builder
#   jobs     number of jobs of the builder in normal use
#   drains   true or false
# Prints `before=`: manual (an operator drained the builder, and nothing was changed), automatic, or none; and `read=`
# for each list with the builder.
#
# An operator's mark is empty. The builder's line stays with 0 jobs, because a queue runner aborts steps that no line
# covers.
: "${lists:?}" "${drained:?}" "${name:?}" "${login:?}" "${jobs:?}" "${drains:?}"
split_by_line
umask 022
lock_marks "$drained" || exit 1
mark=$drained/$name
before=none
if [ -e "$mark" ]; then
  before=manual
  [ "$(cat -- "$mark")" != automatic ] || before=automatic
fi
say before "$before"
for list in $lists; do
  if [ -e "$list" ] && grep -qE "^(ssh://)?$login " "$list"; then say read "$list"; fi
done
if [ "$before" = manual ]; then exit 0; fi
if [ "$drains" = true ]; then
  mkdir -p -- "$drained" && echo automatic | replace_file "$mark" || exit 1
  jobs=0
else
  rm -f -- "$mark" || exit 1
fi
step 'the mark is as wanted'
for list in $lists; do
  [ -e "$list" ] || continue
  text=$(awk -v login="$login" -v jobs="$jobs" '$1 == login || $1 == "ssh://" login { $4 = jobs } { print }' "$list") &&
    printf '%s\n' "$text" | replace_file "$list" || exit 1
  step "$list is as wanted"
done

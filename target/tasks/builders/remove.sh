# shellcheck shell=sh
# Removes the list of this machine's builders, and the key for their logins.
# Values: list and ssh_settings (paths), drained (folder of marks), directory (of the key; empty if the key and the marks
# stay for a builder that is not deployed yet), other (paths for the other program that could read a list).
: "${list:?}" "${ssh_settings:?}" "${drained:?}" "${directory?}" "${other:?}"
lock_marks "$drained" || exit 1
rm -f -- "$list" || exit 1
step 'the list is gone'
rm -f -- "$ssh_settings" || exit 1
step 'the settings of ssh are gone'
split_by_line
# shellcheck disable=SC2086 # The paths are separate words.
rm -rf -- $other || exit 1
step 'the other list is gone'
[ -n "$directory" ] || exit 0
rm -rf -- "$drained" "$directory" || exit 1
step 'the key is gone'

# shellcheck shell=sh
# Removes the list and the key of the other program that could read a list of builders.
# Values: other (paths of the list and of the key's folder).
: "${other:?}"
split_by_line
# shellcheck disable=SC2086 # The paths are separate words.
rm -rf -- $other || exit 1
step 'the other list is gone'

# shellcheck shell=sh
# Reads the two files that control access to a cluster, at their actual paths.
# Values: port and owner (of the cluster).
# Prints the lines of `tell_access_files` (lib.sh).
: "${port:?}" "${owner:?}"
cd / || exit 1
both=$(sql "select ${access_files:?}") || exit 1
tell_access_files "${both%%"$line_feed"*}" "${both#*"$line_feed"}" || exit 1

# shellcheck shell=sh
# Reads the two files that control access to a cluster, at their actual paths.
# Values: port and owner (of the cluster).
# Prints for `hba` and `ident`: `NAME_file=` (the path as the server calls it), `NAME_real=` (the path without links),
# `NAME_stat=` (mode, number of the user, of the group), `NAME=` (the content, in base64).
: "${port:?}" "${owner:?}"
cd / || exit 1
both=$(sql "select current_setting(name) from unnest(array['hba_file', 'ident_file']) as name") || exit 1
tell() {
  real=$(readlink -e -- "$2") || {
    echo "$2 does not exist" >&2
    exit 1
  }
  say "$1_file" "$2"
  say "$1_real" "$real"
  say "$1_stat" "$(stat -c '%a %u %g' -- "$real")"
  say "$1" "$(base64 -w0 -- "$real")"
}
tell hba "${both%%
*}"
tell ident "${both#*
}"

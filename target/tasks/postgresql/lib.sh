# shellcheck shell=sh
# Functions for the scripts that set up PostgreSQL. The functions take `port` and `owner` of the cluster from the
# calling script.

line_feed='
'

# Names of the files that control access to the cluster, as an SQL text of two lines.
# shellcheck disable=SC2034 # The scripts of this folder use the variable.
access_files="concat_ws(e'\\n', current_setting('hba_file'), current_setting('ident_file'))"

# Prints for `hba` and `ident`: `NAME_file=` (the path as the server calls it), `NAME_real=` (the path without links),
# `NAME_stat=` (mode, number of the user, of the group), `NAME=` (the content, in base64). The arguments are the paths
# of both files. Fails if a file does not exist.
tell_access_files() {
  real=$(readlink -e -- "$1" "$2") || {
    for each do [ -e "$each" ] || echo "$each does not exist" >&2; done
    return 1
  }
  hba=${real%%"$line_feed"*} ident=${real#*"$line_feed"}
  modes=$(stat -c '%a %u %g' -- "$hba" "$ident") || return 1
  tell_access_file hba "$1" "$hba" "${modes%%"$line_feed"*}"
  tell_access_file ident "$2" "$ident" "${modes#*"$line_feed"}"
}
tell_access_file() {
  say "$1_file" "$2"
  say "$1_real" "$3"
  say "$1_stat" "$4"
  say "$1" "$(base64 -w0 -- "$3")"
}

# Queries the cluster, or its database $2, as the superuser over the socket. The superuser may not enter every folder,
# so the script must run in a folder that all users may enter.
sql() { run_psql "${owner:?}" -v ON_ERROR_STOP=1 -p "${port:?}" -d "${2:-postgres}" -Atc "$1"; }

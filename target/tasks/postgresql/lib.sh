# shellcheck shell=sh
# Functions for the scripts that set up PostgreSQL. The functions take `port` and `owner` of the cluster from the
# calling script.

# Queries the cluster, or its database $2, as the superuser over the socket. The superuser may not enter every folder,
# so the script must run in a folder that all users may enter.
sql() { run_psql "${owner:?}" -v ON_ERROR_STOP=1 -p "${port:?}" -d "${2:-postgres}" -Atc "$1"; }

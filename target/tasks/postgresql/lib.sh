# shellcheck shell=sh
# Functions for the scripts that set up PostgreSQL. They take `port` and `owner` of the cluster from the script.

# Asks the cluster, or database $2 of it, as its superuser over its socket. The superuser may not enter every folder, so
# the script must run in a folder that everybody may enter.
sql() { run_psql "${owner:?}" -v ON_ERROR_STOP=1 -p "${port:?}" -d "${2:-postgres}" -Atc "$1"; }

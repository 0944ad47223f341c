# shellcheck shell=sh
# Lists the lines that a cluster rejects in the two files that control access.
# Values: port and owner (of the cluster).
# Prints `fault=` for each: `hba` or `ident`, the number of the line, and a sentence.
#
# Both views read the current files. The view of pg_ident.conf has existed since PostgreSQL 15.
: "${port:?}" "${owner:?}"
cd / || exit 1
faults_of() {
  sql "select 'fault=$1 ' || line_number || ' ' || current_setting('$1_file') || ' line ' || line_number || ': ' || error
    from $2 where error is not null"
}
faults_of hba pg_hba_file_rules || exit 1
step 'pg_hba.conf is checked'
has_ident=$(sql "select to_regclass('pg_ident_file_mappings') is not null") || exit 1
if [ "$has_ident" = t ]; then
  faults_of ident pg_ident_file_mappings || exit 1
fi

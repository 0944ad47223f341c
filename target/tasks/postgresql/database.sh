# shellcheck shell=sh
# Creates the database of Hydra and the role that owns it.
# Values: port and owner (of the cluster), database, role.
#
# createuser and createdb fail for an existing name, so the script checks first. The default template may be in
# SQL_ASCII (in a cluster created with LANG=C), but Hydra's texts are in UTF-8.
: "${port:?}" "${owner:?}" "${database:?}" "${role:?}"
cd / || exit 1
as_owner() { runuser -u "$owner" -- "$@" < /dev/null; }
found=$(sql "select 1 from pg_roles where rolname = '$role'") || exit 1
if [ "$found" != 1 ]; then
  as_owner createuser -p "$port" "$role" || exit 1
  step 'the role is there'
fi
sql "alter role $role login" > /dev/null || exit 1
step 'the role may log in'
found=$(sql "select 1 from pg_database where datname = '$database'") || exit 1
if [ "$found" != 1 ]; then
  encoding=$(sql "select pg_encoding_to_char(encoding) from pg_database where datname = 'template1'") || exit 1
  if [ "$encoding" = UTF8 ]; then
    as_owner createdb -p "$port" -O "$role" "$database" || exit 1
  else
    as_owner createdb -p "$port" -O "$role" -T template0 -E UTF8 --locale=C.UTF-8 "$database" || exit 1
  fi
  step 'the database is there'
fi
sql "alter database \"$database\" owner to $role" > /dev/null || exit 1
step 'the database belongs to the role'
found=$(sql "select 1 from pg_extension where extname = 'pg_trgm'" "$database") || exit 1
[ "$found" = 1 ] ||
  sql 'create extension if not exists pg_trgm' "$database" > /dev/null || exit 1
step 'pg_trgm is there'

# shellcheck shell=sh
# Examines the database of Hydra and the access to it.
# Values: port and owner (of the cluster), database, role (that owns it), drop_in (path of the drop-in that lets systemd
# restart PostgreSQL) and drop_in_hash, users (who must get in).
# Prints `database=absent` where the database is missing, and `wrong=` with a sentence for each fault.
: "${port:?}" "${owner:?}" "${database:?}" "${role:?}" "${drop_in:?}" "${drop_in_hash:?}" "${users:?}"
split_by_line
cd / || exit 1
[ "$(hash_of "$drop_in")" = "$drop_in_hash" ] || say wrong "$drop_in differs"
# The number of roles that can log in, and the owner of the database.
answer=$(sql "select (select count(*) from pg_roles where rolname = '$role' and rolcanlogin), pg_get_userbyid(datdba)
  from pg_database where datname = '$database'")
if [ -z "$answer" ]; then
  say database absent
  exit 0
fi
[ "${answer%%|*}" = 1 ] || say wrong "the role $role is missing or cannot log in"
[ "${answer#*|}" = "$role" ] ||
  say wrong "the database $database does not belong to $role"
[ "$(sql "select 1 from pg_extension where extname = 'pg_trgm'" "$database")" = 1 ] || say wrong 'pg_trgm is missing'
enters() {
  entered=$(runuser -u "$1" -- "${psql:?}" -X -p "$port" -U "$role" -d "$database" -Atc 'select current_user' 2>/dev/null < /dev/null)
  [ "$entered" = "$role" ]
}
for user in $users; do
  enters "$user" || say wrong "user $user cannot log in to the database $database as $role"
done
! enters nobody || say wrong "every user can log in to the database $database as $role"
exit 0

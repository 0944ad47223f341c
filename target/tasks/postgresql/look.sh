# shellcheck shell=sh
# Examines the database of Hydra and the access to it.
# Values: port and owner (of the cluster), database, role (that owns it), drop_in (path of the drop-in that lets systemd
# restart PostgreSQL) and drop_in_hash, users (who must get in), startup (message of a client that enters the database
# as the role, hexadecimal) and ask_socket (program in Perl).
# Prints `database=absent` where the database is missing, and `wrong=` with a sentence for each fault.
: "${port:?}" "${owner:?}" "${database:?}" "${role:?}" "${drop_in:?}" "${drop_in_hash:?}" "${users:?}" "${startup:?}" "${ask_socket:?}"
split_by_line
cd / || exit 1
[ "$(hash_of "$drop_in")" = "$drop_in_hash" ] || say wrong "$drop_in differs"
# The number of roles that can log in, the number of the extension's entries, and the owner of the database. The last
# two are of the database that answers.
facts="select (select count(*) from pg_roles where rolname = '$role' and rolcanlogin),
  (select count(*) from pg_extension where extname = 'pg_trgm'), pg_get_userbyid(datdba)
  from pg_database where datname = '$database'"
if answer=$(sql "$facts" "$database" 2> /dev/null) && [ -n "$answer" ]; then
  extensions=${answer#*|} extensions=${extensions%%|*}
else
  # The database is missing, or cannot be entered; the answer of another database tells which.
  answer=$(sql "$facts") extensions=0
  if [ -z "$answer" ]; then
    say database absent
    exit 0
  fi
fi
[ "${answer%%|*}" = 1 ] || say wrong "the role $role is missing or cannot log in"
[ "${answer##*|}" = "$role" ] ||
  say wrong "the database $database does not belong to $role"
[ "$extensions" = 1 ] || say wrong 'pg_trgm is missing'
# One process greets the server as each user. The server answers an admitted user with `R`, eight bytes, and `S`, and
# any other user with `E` (PostgreSQL's manual, 55.2). A program finds the reason of any other answer.
line_feed='
'
# shellcheck disable=SC2086 # A list: one word a line.
greeted=$line_feed$(perl -e "$ask_socket" "/var/run/postgresql/.s.PGSQL.$port" "$startup" 10 30 $users nobody 2> /dev/null)$line_feed
enters() {
  case $greeted in
    *"$line_feed$1 52000000080000000053$line_feed"*) return 0 ;;
    *"$line_feed$1 45"*) return 1 ;;
  esac
  entered=$(runuser -u "$1" -- "${psql:?}" -X -p "$port" -U "$role" -d "$database" -Atc 'select current_user' 2>/dev/null < /dev/null)
  [ "$entered" = "$role" ]
}
for user in $users; do
  enters "$user" || say wrong "user $user cannot log in to the database $database as $role"
done
! enters nobody || say wrong "every user can log in to the database $database as $role"
exit 0

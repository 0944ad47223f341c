# shellcheck shell=sh
# Examines the database of Hydra and the access to it.
# Values: port and owner (of the cluster), database, role (that owns it), drop_in (path of the drop-in that lets
# systemd restart PostgreSQL) and drop_in_hash, users (who must be able to log in), startup (message of a client that
# enters the database as the role, hexadecimal), welcome and farewell (the server's answer and the client's last
# message, hexadecimal), and ask_socket (program in Perl).
# Prints `database=absent` if the database is missing, `database=unanswered` if it cannot be queried, and `wrong=`
# with a sentence for each fault. Prints for an existing database also the lines of `tell_access_files` (lib.sh).
: "${port:?}" "${owner:?}" "${database:?}" "${role:?}" "${drop_in:?}" "${drop_in_hash:?}" "${users:?}" "${startup:?}"
: "${welcome:?}" "${farewell:?}" "${ask_socket:?}"
split_by_line
cd / || exit 1
[ "$(hash_of "$drop_in")" = "$drop_in_hash" ] || say wrong "$drop_in differs"
# The access files on two lines, and a line with the number of roles that can log in, the number of the extension's
# entries, and the owner of the database. The number of entries describes the queried database.
facts="select ${access_files:?} || e'\\n' || (select count(*) from pg_roles where rolname = '$role' and rolcanlogin),
  (select count(*) from pg_extension where extname = 'pg_trgm'), pg_get_userbyid(datdba)
  from pg_database where datname = '$database'"
# Queries the facts in database $1. Sets `said` (the output of psql), `status` and `answer` (the last line). Warnings
# precede the answer.
ask_facts() {
  said=$(sql "$facts" "$1" 2>&1)
  status=$?
  answer=${said##*"$line_feed"}
  case $answer in *'|'*) ;; *) answer='' ;; esac
}
ask_facts "$database"
extensions=${answer#*|} extensions=${extensions%%|*}
if [ "$status" != 124 ] && { [ "$status" != 0 ] || [ -z "$answer" ]; }; then
  # The database is missing, or refuses connections. The answer of the database `postgres` distinguishes these cases.
  ask_facts postgres
  extensions=0
fi
# A server without an answer does not prove that the database is missing.
if [ "$status" != 0 ]; then
  say database unanswered
  say wrong "the database $database cannot be queried: $(fault_of_psql "$said")"
  exit 0
elif [ -z "$answer" ]; then
  say database absent
  exit 0
fi
files=${said%"$line_feed"*} ident=${files##*"$line_feed"} files=${files%"$line_feed"*} hba=${files##*"$line_feed"}
tell_access_files "$hba" "$ident" || exit 1
[ "${answer%%|*}" = 1 ] || say wrong "the role $role is missing or cannot log in"
[ "${answer##*|}" = "$role" ] ||
  say wrong "the database $database does not belong to $role"
[ "$extensions" = 1 ] || say wrong 'pg_trgm is missing'
# One process connects to the server as each user. The server answers a refused user with `E` (PostgreSQL's manual,
# 55.2). psql examines any other answer.
# shellcheck disable=SC2086 # A list: one word a line.
greeted=$line_feed$(perl -e "$ask_socket" "/var/run/postgresql/.s.PGSQL.$port" "$startup" "$welcome" \
  "$farewell" 60 $users nobody 2> /dev/null)$line_feed
# Returns 0 for a user who can log in, 124 without an answer of the server, and another status otherwise.
enters() {
  case $greeted in
    *"$line_feed$1 $welcome$line_feed"*) return 0 ;;
    *"$line_feed$1 45"*) return 1 ;;
    *"$line_feed$1 !$line_feed"*) return 124 ;;
  esac
  entered=$(run_psql "$1" -p "$port" -U "$role" -d "$database" -Atc 'select current_user' 2> /dev/null) || return
  [ "$entered" = "$role" ]
}
for user in $users nobody; do
  enters "$user"
  case $?-$user in
    124-*)
      # The query as the next user would take just as long.
      say wrong "PostgreSQL does not answer user $user"
      break
      ;;
    0-nobody) say wrong "every user can log in to the database $database as $role" ;;
    0-* | *-nobody) ;;
    *) say wrong "user $user cannot log in to the database $database as $role" ;;
  esac
done
exit 0

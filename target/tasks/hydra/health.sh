# shellcheck shell=sh
# Asks each service of Hydra whether it works.
# Values: home (of Hydra), config (the wanted configuration), package (path), environment (`NAME=VALUE` for its
# programs), hydra_user, runner_user and www_user, database, database_port and role, address and port (of the web
# server), runner_port (at which builders are counted; `-` where there is none).
# Prints `wrong=` with a sentence for each fault, and `builders=`, the queue runner's report about its builders.
#
# An unknown option makes hydra-server drop all of them and listen everywhere (measured), so the script also checks the
# address. The evaluator does not report its start; its connections to the database prove it.
: "${home:?}" "${config:?}" "${package?}" "${environment?}" "${hydra_user:?}" "${runner_user:?}" "${www_user:?}"
: "${database:?}" "${database_port:?}" "${role:?}" "${address:?}" "${port:?}" "${runner_port:?}"
cd / || exit 1
[ "$(readlink "$home/hydra.conf")" = "$config" ] || say wrong "$home/hydra.conf is not a link to $config"
# The checks run side by side, because Nix takes long to start.
{
  for user in "$hydra_user" "$runner_user" "$www_user"; do
    runuser -u "$user" -- env NIX_REMOTE=daemon nix-store -q --hash "$package" < /dev/null > /dev/null 2>&1 ||
      say wrong "user $user cannot use the Nix daemon" &
  done
  wait
} | sort
# The number of tables with the schema's version, and of the evaluator's connections.
said=$(hydra_sql "select (select count(*) from pg_tables where tablename = 'schemaversion'),
  (select count(*) from pg_stat_activity where application_name = 'hydra-evaluator')" 2>&1)
answered=$?
counts=${said##*
} tables=${counts%%|*} sessions=${counts#*|}
if [ "$answered" != 0 ]; then
  say wrong "the database $database cannot be queried: $(printf '%s' "$said" | head -n 1)"
fi
# Prints the status of a queue runner in C++, which writes it to the database.
runner_status() {
  split_by_line
  # shellcheck disable=SC2086 # A list: one word a line.
  runuser -u "$runner_user" -- env $environment "$package/bin/hydra-queue-runner" --status < /dev/null 2>/dev/null
}
if [ "$runner_port" != - ]; then
  # Every Debian has bash, but not every one has an HTTP client.
  # shellcheck disable=SC2016 # bash is to expand it.
  answer=$(timeout 60 bash -c 'exec 3<> "/dev/tcp/127.0.0.1/$1" && printf "GET /status/machines HTTP/1.0\r\n\r\n" >&3 && cat <&3' \
    bash "$runner_port" 2>/dev/null)
  say builders "$(printf '%s' "$answer" | tail -n 1)"
elif [ "$answered" = 0 ]; then
  case $(runner_status) in
    *'"status":"up"'* | *'"status": "up"'*) ;;
    *) say wrong 'the queue runner does not answer' ;;
  esac
fi
for mark in "$home"/.*-stopped-disk-space; do
  [ -e "$mark" ] || continue
  unit=${mark##*/.} unit=${unit%-stopped-disk-space}
  [ "$(systemctl is-active "$unit")" = active ] ||
    say wrong "$unit was stopped, because /nix/store has too little free space"
done
if [ "$answered" = 0 ]; then
  newest=$(find "$package/libexec/hydra/sql/" -name 'upgrade-*.sql' 2>/dev/null | sed 's/.*upgrade-//; s/\.sql$//' | sort -n | tail -n 1)
  schema=$([ "$tables" = 0 ] || hydra_sql 'select max(version) from schemaversion' 2>/dev/null)
  if [ -z "$schema" ]; then
    say wrong "the database $database lacks the tables of Hydra"
  elif [ "$schema" -lt "${newest:-0}" ]; then
    say wrong "the tables of Hydra have the version $schema, but the package needs $newest"
  fi
  [ "${sessions:-0}" -ge 1 ] || say wrong 'the evaluator has no connection to the database'
fi
listening=$(ss -Hltn "sport = :$port" | awk '{ print $4 }')
case $listening in
  '') say wrong "nothing listens on port $port" ;;
  '*:'* | '0.0.0.0:'* | '[::]:'*)
    case $address in
      0.0.0.0 | ::) ;;
      *) say wrong "hydra-server listens on $listening instead of $address:$port" ;;
    esac
    ;;
esac
exit 0

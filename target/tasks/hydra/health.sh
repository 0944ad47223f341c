# shellcheck shell=sh
# Checks whether each service of Hydra works.
# Values: home (of Hydra), config (the wanted configuration), package (path), environment (`NAME=VALUE` for its
# programs), hydra_user, runner_user and www_user, database, database_port and role, address and port (of the web
# server), runner_port (for the queue runner's status of builders; `-` if there is no such port), ask_socket (program
# in Perl).
# Prints `wrong=` with a sentence for each fault, and `builders=`, the queue runner's report about its builders.
#
# An unknown option makes hydra-server ignore all options and listen everywhere (measured), so the script also checks
# the address. The evaluator does not report its start, so the script checks its connections to the database.
: "${home:?}" "${config:?}" "${package?}" "${environment?}" "${hydra_user:?}" "${runner_user:?}" "${www_user:?}"
: "${database:?}" "${database_port:?}" "${role:?}" "${address:?}" "${port:?}" "${runner_port:?}" "${ask_socket:?}"
cd / || exit 1
line_feed='
'
# Prints the answer of the queue runner. The queue runner in C++ writes its status to the database, through a program
# that starts slowly.
ask_runner() {
  if [ "$runner_port" != - ]; then
    # Every Debian has bash, but not every Debian has an HTTP client.
    # shellcheck disable=SC2016 # bash is to expand it.
    timeout 60 bash -c 'exec 3<> "/dev/tcp/127.0.0.1/$1" && printf "GET /status/machines HTTP/1.0\r\n\r\n" >&3 && cat <&3' \
      bash "$runner_port" 2>/dev/null | tail -n 1
  else
    split_by_line
    # shellcheck disable=SC2086 # A list: one word a line.
    runuser -u "$runner_user" -- timeout 120 env $environment "$package/bin/hydra-queue-runner" --status < /dev/null 2>/dev/null
  fi
}
# Evaluates the answer of the queue runner on standard input.
judge_runner() {
  answer=$(cat)
  if [ "$runner_port" != - ]; then
    say builders "$answer"
  elif [ "$answered" = 0 ]; then
    case $answer in
      *'"status":"up"'* | *'"status": "up"'*) ;;
      *) say wrong 'the queue runner does not answer' ;;
    esac
  fi
}
# Lets Nix query the daemon as user $1, and reports a failure.
try_nix() {
  runuser -u "$1" -- timeout 60 env NIX_REMOTE=daemon nix-store -q --hash "$package" < /dev/null > /dev/null 2>&1
  case $? in
    0) ;;
    124) say wrong "nix-store of user $1 did not end within 60 s" ;;
    *) say wrong "user $1 cannot use the Nix daemon" ;;
  esac
}
# Checks the link, the users and the connection to the database.
check_users_and_database() {
  [ "$(readlink "$home/hydra.conf")" = "$config" ] || say wrong "$home/hydra.conf is not a link to $config"
  # The daemon answers the greeting of a user only if it admits the user. One process connects as each user. It then
  # sends protocol version 1.35 and two zeros, which complete the greeting for every daemon. A daemon logs an
  # incomplete greeting as an error (measured).
  greeted=$line_feed$(perl -e "$ask_socket" /nix/var/nix/daemon-socket/socket 6378696e00000000 6f69786400000000 \
    230100000000000000000000000000000000000000000000 60 "$hydra_user" "$runner_user" "$www_user" 2> /dev/null)$line_feed
  # Any other answer is checked with Nix itself. Nix starts slowly, so the checks of the users run in parallel.
  refused=$(
    for user in "$hydra_user" "$runner_user" "$www_user"; do
      case $greeted in
        *"$line_feed$user 6f69786400000000$line_feed"*) ;;
        *"$line_feed$user !$line_feed"*) say wrong "the Nix daemon does not answer user $user" ;;
        *) try_nix "$user" & ;;
      esac
    done
    wait
  )
  [ -z "$refused" ] || printf '%s\n' "$refused" | sort
  # The query reads the version of the schema and the number of the evaluator's connections. A database without
  # Hydra's tables has no version.
  evaluators="(select count(*) from pg_stat_activity where application_name = 'hydra-evaluator')"
  said=$(hydra_sql "select (select max(version) from schemaversion), $evaluators" 2>&1)
  answered=$?
  if [ "$answered" != 0 ] && [ "$answered" != 124 ]; then
    said=$(hydra_sql "select null, $evaluators" 2>&1)
    answered=$?
  fi
  counts=${said##*
} schema=${counts%%|*} sessions=${counts#*|}
  if [ "$answered" != 0 ]; then
    say wrong "the database $database cannot be queried: $(fault_of_psql "$said")"
  fi
}
# Checks the space, the tables, the evaluator and the port.
check_services() {
  for mark in "$home"/.*-stopped-disk-space; do
    [ -e "$mark" ] || continue
    unit=${mark##*/.} unit=${unit%-stopped-disk-space}
    [ "$(systemctl is-active "$unit")" = active ] ||
      say wrong "$unit was stopped, because /nix/store has too little free space"
  done
  if [ "$answered" = 0 ]; then
    newest=0
    for upgrade in "$package"/libexec/hydra/sql/upgrade-*.sql; do
      number=${upgrade##*/upgrade-} number=${number%.sql}
      case $number in *[!0-9]*) continue ;; esac
      [ "$number" -le "$newest" ] || newest=$number
    done
    if [ -z "$schema" ]; then
      say wrong "the database $database lacks the tables of Hydra"
    elif [ "$schema" -lt "$newest" ]; then
      say wrong "the tables of Hydra have the version $schema, but the package needs $newest"
    fi
    [ "${sessions:-0}" -ge 1 ] || say wrong 'the evaluator has no connection to the database'
  fi
  listening=$(ss -Hltn "sport = :$port" | while read -r _ _ _ at _; do printf '%s\n' "$at"; done)
  case $listening in
    '') say wrong "nothing listens on port $port" ;;
    '*:'* | '0.0.0.0:'* | '[::]:'*)
      case $address in
        0.0.0.0 | ::) ;;
        *) say wrong "hydra-server listens on $listening instead of $address:$port" ;;
      esac
      ;;
  esac
}
# The queue runner is queried while the other checks run. Its answer waits in the pipe.
ask_runner | {
  check_users_and_database
  judge_runner
  check_services
}
exit 0

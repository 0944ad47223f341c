# shellcheck shell=sh
# Lists the clusters of Debian's PostgreSQL, or the server of NixOS; prints nothing without PostgreSQL.
# Values: database (of Hydra).
# Prints `cluster=` for each (version, name, port, status, owner). If there are several clusters, prints `holder=`
# (version, name) for each running cluster with this database.
: "${database:?}"
cd / || exit 1
line_feed='
'
list_clusters() {
  if [ -e /etc/NIXOS ]; then
    # NixOS has only one server, and no file that lists servers. The socket of the server appears when it is ready.
    command -v postgres > /dev/null || return 0
    version=$(postgres --version | sed 's/^[^0-9]*//; s/[^0-9].*//')
    for socket in /run/postgresql/.s.PGSQL.*; do
      [ -S "$socket" ] || continue
      printf '%s nixos %s online %s\n' "$version" "${socket##*.}" "$(stat -c %U -- "$socket")"
    done
  elif program=$(command -v pg_lsclusters); then
    # A program of this name at another place may have other answers.
    { [ "$program" = /usr/bin/pg_lsclusters ] && usual_cluster; } || pg_lsclusters -h
  fi
}
# Prints the cluster of a machine that has only one, in the format of pg_lsclusters and from the same files. Fails if
# the answer of pg_lsclusters might differ: with unusual settings or places, and for a process that no longer runs.
# pg_lsclusters is a program in Perl, which takes as long as twenty other programs of a look.
usual_cluster() {
  set -- /etc/postgresql/*/*/postgresql.conf /etc/postgresql/*/*/conf.d/*.conf
  case $# in 2) [ -f "$1" ] && [ ! -e "$2" ] || return 1 ;; *) return 1 ;; esac
  name=${1%/*} version=${name%/*} name=${name##*/} version=${version##*/}
  case $version in [1-9][0-9]) ;; *) return 1 ;; esac
  case $name in *[!A-Za-z0-9_-]*) return 1 ;; esac
  data=/var/lib/postgresql/$version/$name
  # PostgreSQL itself writes the second file. A plain setting becomes `NAME VALUE`.
  settings=$(sed -nE "/^[[:space:]]*(port|data_directory|external_pid_file|include)/I {
    s|^([a-z_]+) = '?([a-zA-Z0-9_./-]+)'?[[:space:]]*(#.*)?\$|\\1 \\2|; p; }" "$1" "$data/postgresql.auto.conf") || return 1
  # The settings have the order in which pg_createcluster writes them, and each occurs once.
  before="data_directory $data${line_feed}external_pid_file " settings=${settings%"${line_feed}include_dir conf.d"}
  pid_file=${settings#"$before"} port=${settings##*"${line_feed}port "} pid_file=${pid_file%%"$line_feed"*}
  [ "$settings" = "$before$pid_file${line_feed}port $port" ] || return 1
  case $port in '' | *[!0-9]*) return 1 ;; esac
  status=down
  if [ -e "$pid_file" ]; then
    read -r pid < "$pid_file" && [ -r "/proc/$pid/cmdline" ] || return 1
    command=''
    IFS= read -r command < "/proc/$pid/cmdline"
    case $command in */bin/postgres-D*) status=online ;; *) return 1 ;; esac
  fi
  owner=$(stat -c %U -- "$data") && [ "$owner" != UNKNOWN ] && echo "$version $name $port $status $owner"
}
clusters=$(list_clusters)
# The database is needed only to choose among several clusters. A query to a cluster costs the start of two programs.
case $clusters in
  *"$line_feed"*) several=yes ;;
  *) several=no ;;
esac
printf '%s\n' "$clusters" | while read -r version name port status owner _; do
  [ -n "$version" ] || continue
  say cluster "$version $name $port $status $owner"
  case $several-$status in
    yes-*online*)
      # A cluster that does not answer may have the database.
      found=$(sql "select 1 from pg_database where datname = '$database'" 2>/dev/null) || [ $? != 124 ] || {
        echo "cluster $version/$name: PostgreSQL did not answer within 60 s" >&2
        exit 1
      }
      [ "$found" != 1 ] || say holder "$version $name"
      ;;
  esac
done || exit 1
exit 0

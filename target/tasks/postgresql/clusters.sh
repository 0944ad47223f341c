# shellcheck shell=sh
# Lists the clusters of Debian's PostgreSQL, or the server of NixOS; prints nothing without PostgreSQL.
# Values: database (of Hydra).
# Prints `cluster=` for each (version, name, port, status, owner). If there are several clusters, prints `holder=`
# (version, name) for each running cluster with this database.
: "${database:?}"
cd / || exit 1
list_clusters() {
  if [ -e /etc/NIXOS ]; then
    # NixOS has only one server, and no file that lists servers. The socket of the server appears when it is ready.
    command -v postgres > /dev/null || return 0
    version=$(postgres --version | sed 's/^[^0-9]*//; s/[^0-9].*//')
    for socket in /run/postgresql/.s.PGSQL.*; do
      [ -S "$socket" ] || continue
      printf '%s nixos %s online %s\n' "$version" "${socket##*.}" "$(stat -c %U -- "$socket")"
    done
  elif command -v pg_lsclusters > /dev/null; then
    pg_lsclusters -h
  fi
}
clusters=$(list_clusters)
# The database is needed only to choose among several clusters. A query to a cluster costs the start of two programs.
case $clusters in
  *'
'*) several=yes ;;
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

# shellcheck shell=sh
# Lists the clusters of Debian's PostgreSQL, and the server of NixOS; none without PostgreSQL.
# Values: database (of Hydra).
# Prints `cluster=` for each (version, name, port, status, owner). Prints `holder=` (version, name) for each of several
# that is up and has this database.
: "${database:?}"
cd / || exit 1
list_clusters() {
  if [ -e /etc/NIXOS ]; then
    # NixOS has one server, and no file that lists the server. Its socket appears with its first answer.
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
# The database decides only among several clusters, and each question to one costs the start of two programs.
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
      # A cluster without an answer may be the one with the database.
      found=$(sql "select 1 from pg_database where datname = '$database'" 2>/dev/null) || [ $? != 124 ] || {
        echo "cluster $version/$name: PostgreSQL did not answer within 60 s" >&2
        exit 1
      }
      [ "$found" != 1 ] || say holder "$version $name"
      ;;
  esac
done || exit 1
exit 0

# shellcheck shell=sh
# Lists the clusters of Debian's PostgreSQL; none without PostgreSQL.
# Values: database (of Hydra).
# Prints `cluster=` for each (version, name, port, status, owner), and `holder=` (version, name) for each that is up and
# has this database.
: "${database:?}"
command -v pg_lsclusters > /dev/null || exit 0
cd / || exit 1
pg_lsclusters -h | while read -r version name port status owner _; do
  say cluster "$version $name $port $status $owner"
  case $status in
    *online*)
      found=$(sql "select 1 from pg_database where datname = '$database'" 2>/dev/null)
      [ "$found" != 1 ] || say holder "$version $name"
      ;;
  esac
done
exit 0

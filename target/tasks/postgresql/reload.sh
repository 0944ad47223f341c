# shellcheck shell=sh
# Reloads the configuration of a cluster, and waits until the reload is complete.
# Values: port and owner (of the cluster).
: "${port:?}" "${owner:?}"
cd / || exit 1
loaded() { sql 'select extract(epoch from pg_conf_load_time())'; }
before=$(loaded) || exit 1
[ "$(sql 'select pg_reload_conf()')" = t ] || exit 1
step 'the configuration is about to be read'
for _ in $(seq 100); do
  now=$(loaded) || exit 1
  if [ "$now" != "$before" ]; then
    step 'the configuration is read'
    exit 0
  fi
  sleep 0.2
done
echo 'PostgreSQL did not reload its configuration within 20 s' >&2
exit 1

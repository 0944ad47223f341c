# shellcheck shell=sh
# Starts a cluster, also at boot.
# Values: unit (of the cluster).
: "${unit:?}"
systemctl daemon-reload || exit 1
step 'systemd has read its units'
enable_unit postgresql.service || exit 1
step 'PostgreSQL starts at boot'
if [ "$(systemctl is-active "$unit")" != active ]; then
  systemctl reset-failed "$unit" 2>/dev/null
  systemctl start "$unit" || {
    journalctl --quiet --no-pager --lines=20 --output=cat --unit="$unit" >&2
    exit 1
  }
  step 'the cluster is up'
fi
# Debian uses postgresql.service for all clusters together, and people use that name. The unit has no process, and
# only needs to be active.
[ "$(systemctl is-active postgresql.service)" = active ] || systemctl start postgresql.service || exit 1
step 'PostgreSQL is up'

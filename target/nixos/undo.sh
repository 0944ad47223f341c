# shellcheck shell=sh
# Starts the guard at once, because the new system must not stay. The guard also ends a confirmed system, unless it is
# the boot default.
# Values: run, folder, old (system).
: "${run:?}" "${folder:?}" "${old:?}"
: > "$folder/now" || exit 1
if [ ! -e "$folder/kept" ] && [ -e "$folder/confirmed" ]; then
  mv -T -- "$folder/confirmed" "$folder/armed" || exit 1
fi
step now
systemctl start --no-block "hydra-ops-guard-$run-long.service" 2> /dev/null ||
  systemd-run --quiet --unit="hydra-ops-guard-$run-now" --property=Type=exec "$old/sw/bin/bash" "$folder/guard"

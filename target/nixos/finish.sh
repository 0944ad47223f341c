# shellcheck shell=sh
# Removes the units of an activation after its result was read. Removes the roots that protected its systems from the
# garbage collector. The previous system keeps a root, for a rollback.
# Values: run, units (of the activation), folder, profile (of the boot default), kept (true if the new system became
# the boot default).
: "${run:?}" "${units:?}" "${folder:?}" "${profile:?}" "${kept:?}"
split_by_line
for unit in $units; do
  # A stop would interrupt the writing of a boot menu.
  case $(systemctl show -p SubState --value -- "$unit") in running | start) continue ;; esac
  systemctl stop -- "$unit" 2> /dev/null
  systemctl reset-failed -- "$unit" 2> /dev/null
done
set +f
systemctl stop "hydra-ops-guard-$run-long.timer" "hydra-ops-guard-$run-short.timer" 2> /dev/null
roots=/nix/var/nix/gcroots/hydra-ops
old=$(place_of "$roots/old-$run")
new=$(place_of "$roots/new-$run")
# A power cut may interrupt the change of the boot default before a result is written. The profile then shows whether
# the change happened.
if [ -e "$folder/keeping" ] && [ "$(place_of "$profile")" = "$new" ]; then kept=true; fi
if [ "$kept" = true ] && [ -n "$old" ] && [ "$old" != "$new" ]; then
  ln -sfnT -- "$old" "$roots/previous.new" && mv -T -- "$roots/previous.new" "$roots/previous"
fi
rm -f -- "$roots/old-$run" "$roots/new-$run"
exit 0

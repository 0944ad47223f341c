# shellcheck shell=sh
# Sets the guard, then starts the activation in a unit that needs no connection.
# Values: run, unit, log, folder (of this activation), running (system that runs now), old (system that the guard goes
# back to), new (system), owner, owner_file, action (`none` starts no unit), guarded (true or false),
# activation_seconds (first deadline of the guard), arm, guard, switch, keep (scripts that stay on the machine), once
# (folder of a one-time boot), once_profile (of a system that boots once), profile (of the boot default).
# Exit status 75: another activation is under way; 76: the running system has changed since it was read; 77: the
# closure is not a NixOS system; 78: the guard could not be set. Nothing is switched after such a status. The reason
# is on stderr.
: "${run:?}" "${unit:?}" "${log:?}" "${folder:?}" "${running:?}" "${old:?}" "${new:?}" "${owner:?}" "${owner_file:?}"
: "${action:?}" "${guarded:?}" "${activation_seconds:?}" "${arm:?}" "${guard:?}" "${switch:?}" "${keep:?}"
: "${once:?}" "${once_profile:?}" "${profile:?}"
refuse() {
  echo "$2" >&2
  exit "$1"
}
# is-active succeeds if any of its units is active.
guard_is_set() { systemctl is-active --quiet "hydra-ops-guard-$1-long.timer" "hydra-ops-guard-$1-short.timer"; }
umask 077
runs=${folder%/*}
logs=${log%/*}
roots=/nix/var/nix/gcroots/hydra-ops
mkdir -p -- "$runs" "$logs" "$roots" || exit 1
# Only one operator at a time may start an activation. The lock ends with this script.
exec 9< "$runs"
flock -w 30 9 || refuse 75 'another operator has been beginning an activation for 30 s'
boot=$(cat /proc/sys/kernel/random/boot_id)

busy=$(systemctl list-units --plain --no-legend --state=running,start 'hydra-ops-activation-*.service' \
  'hydra-ops-keep-*.service' 'hydra-ops-prepare-*.service' 'hydra-ops-guard-*.service' | cut -d' ' -f1)
[ -z "$busy" ] || refuse 75 "$busy is running"
for armed in "$runs"/*/armed; do
  [ -e "$armed" ] || continue
  other=${armed%/*}
  other=${other##*/}
  # A reboot ends every guard, and a guard without a timer was not set completely.
  if [ "$(cat -- "$armed")" = "$boot" ] && guard_is_set "$other"; then
    refuse 75 "the activation of run $other waits to be confirmed"
  fi
  mv -T -- "$armed" "${armed%/*}/abandoned" || exit 1
done

# A machine with a one-time boot is about to reboot, or awaits a confirmation of the new system. The boot is over in
# any other case, or the operator's process died before the reboot. A dry activation leaves the boot menu as it is.
if [ -e "$once" ]; then
  other=$(first_line "$once/run")
  if [ ! -e "$once/confirmed" ]; then
    if booted_once "$other" || [ -n "$(find "$once/armed" -mmin -10 2> /dev/null)" ]; then
      refuse 75 "the one-time boot of run $other waits to be confirmed"
    fi
  fi
  if [ "$action" != dry-activate ]; then
    PATH=$PATH:$(place_of "$profile")/sw/bin
    forget_boot_once "$once" "$once_profile" || refuse 75 "the one-time boot of run $other could not be removed"
  fi
fi

present=$(place_of /run/current-system)
[ "$present" = "$running" ] || refuse 76 "the machine runs $present now"
for each in "$old/sw/bin/bash" "$old/bin/switch-to-configuration" "$new/bin/switch-to-configuration"; do
  [ -x "$each" ] || refuse 77 "there is no program $each"
done

# The logs and folders of the oldest runs are removed.
# shellcheck disable=SC2012 # ls sorts by age; the names are ours, and plain.
{
  ls -t "$logs" | tail -n +20 | while IFS= read -r each; do rm -f -- "$logs/$each"; done
  ls -t "$runs" | tail -n +20 | while IFS= read -r each; do rm -rf -- "${runs:?}/$each"; done
}
rm -rf -- "$folder"
mkdir -- "$folder" || exit 1
step folder
ln -sfnT -- "$old" "$roots/old-$run" && ln -sfnT -- "$new" "$roots/new-$run" || exit 1
# A dry activation does not take over a machine that has no owner.
if [ "$action" != dry-activate ]; then
  mkdir -p -- "${owner_file%/*}" && printf '%s\n' "$owner" | replace_file "$owner_file" || exit 1
fi
for name in arm guard switch keep; do
  text=''
  eval "text=\$$name"
  printf '%s\n' "$text" > "$folder/$name" || exit 1
done
printf '%s\n' "$old" > "$folder/old" || exit 1
sync -f "$folder"
step scripts

if [ "$guarded" = true ]; then
  printf '%s\n' "$boot" | replace_file "$folder/armed" || refuse 78 'the file of the guard could not be written'
  step armed
  deadline_name=long deadline_seconds=$activation_seconds "$old/sw/bin/bash" "$folder/arm" || {
    mv -T -- "$folder/armed" "$folder/abandoned"
    refuse 78 'systemd refused the timer of the guard'
  }
  step guard
fi

[ "$action" != none ] || exit 0
# Three options are wrong here (measured). `--pipe` dies with the connection. `--collect` makes a vanished unit look
# like a success. `--wait` gives 0 for a failure across `daemon-reexec`.
systemd-run --quiet --unit="$unit" --service-type=exec --remain-after-exit \
  -p StandardOutput="append:$log" -p StandardError=inherit "$old/sw/bin/bash" "$folder/switch"
status=$?
step started
exit "$status"

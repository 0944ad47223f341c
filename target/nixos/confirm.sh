# shellcheck shell=sh
# Confirms the new system: renames the guard's file before the guard does, then stops the timers. The caller runs this
# script over a login that began after the switch.
# Values: run, folder, name (the file's new name: `confirmed`, or `abandoned` if nothing was switched).
# Prints won, as `yes` or `no`.
: "${run:?}" "${folder:?}" "${name:?}"
if ! mv -T -- "$folder/armed" "$folder/$name" 2> /dev/null; then
  if [ -e "$folder/armed" ]; then
    echo "the file $folder/armed cannot be renamed; is the disk broken or full?" >&2
    exit 1
  fi
  # A repeated confirmation finds the file that it renamed before.
  if [ ! -e "$folder/$name" ] || [ -e "$folder/fired" ]; then
    say won no
    exit 0
  fi
fi
step confirmed
sync -f "$folder"
systemctl stop "hydra-ops-guard-$run-long.timer" "hydra-ops-guard-$run-short.timer" 2> /dev/null
say won yes

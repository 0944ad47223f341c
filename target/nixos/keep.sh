# shellcheck shell=sh
# Makes the new system the boot default, within a separate unit: first the profile, then the boot menu. If the menu
# cannot be built, the profile and the menu are restored.
# Values: old, new (systems), folder, profile, pending (file that exists while the boot menu may lack the new system),
# awaits (file with the system that runs from the next boot on, and the id of the current boot).
# Leaves in the folder: `keeping` (the profile may have the new system from now on), then `kept` (status of the
# profile's change, and of the boot menu's).
: "${old:?}" "${new:?}" "${folder:?}" "${profile:?}" "${pending:?}" "${awaits:?}"
PATH=$new/sw/bin:$old/sw/bin
export PATH LC_ALL=C HOME=/root
cd / || exit 1
leave() { printf '%s\n' "$2" > "$1.new" && mv -T -- "$1.new" "$1"; }

before=$(readlink -- "$profile")
leave "$pending" "$new" && : > "$folder/keeping" || exit 1
# A power cut must not leave a generation whose files are empty.
sync
nix-env -p "$profile" --set "$new"
set_status=$?
boot_status=-
if [ "$set_status" = 0 ]; then
  "$new/bin/switch-to-configuration" boot < /dev/null
  boot_status=$?
fi
if [ "$boot_status" = 0 ]; then
  rm -f -- "$awaits"
  [ "$(readlink -e /run/current-system)" = "$new" ] || leave "$awaits" "$new $(cat /proc/sys/kernel/random/boot_id)"
  sync
  # On FAT, the file system of EFI, only the sync of a folder empties the cache of the disk.
  sync /boot
  rm -f -- "$pending"
elif [ "$set_status" = 0 ]; then
  echo "hydra-ops: the boot menu could not be made; the profile becomes what it was"
  number=${before%-link}
  number=${number##*-}
  # The first generation has no generation before it, so the profile stays unchanged.
  if [ -n "$number" ] && nix-env -p "$profile" --switch-generation "$number" &&
    "$(readlink -e -- "$profile")/bin/switch-to-configuration" boot < /dev/null; then
    sync
    sync /boot
    rm -f -- "$pending"
  fi
fi
leave "$folder/kept" "$set_status $boot_status"

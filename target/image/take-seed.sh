# shellcheck shell=sh
# Writes the files of the machine's identity, which the seed disk describes as lines for systemd-tmpfiles. Runs at each
# boot of an image of hydra-ops.
# Values: none.
set -e
disk=/dev/disk/by-label/cidata
udevadm wait --timeout=30 "$disk" || {
  echo 'the machine has neither a credential nor a seed disk: nobody can log in' >&2
  exit 1
}
mkdir -m 700 /run/hydra-ops-seed
mount -t iso9660 -o ro "$disk" /run/hydra-ops-seed
systemd-tmpfiles --create /run/hydra-ops-seed/hydra-ops.tmpfiles
umount /run/hydra-ops-seed
rmdir /run/hydra-ops-seed

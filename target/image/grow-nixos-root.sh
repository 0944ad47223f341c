# shellcheck shell=sh
# Grows the partition and the root file system of a NixOS machine to the size of its disk. Runs at each boot of the
# image `nixos`.
# Values: none.
set -e
# NixOS mounts the root by its label.
device=$(readlink -f "$(findmnt -no SOURCE /)")
partition=$(readlink -f "/sys/class/block/${device##*/}")
disk=${partition%/*}
read -r number < "$partition/partition"
read -r start < "$partition/start"
read -r sectors < "$partition/size"
read -r available < "$disk/size"
if [ $((available - start - sectors)) -gt 2048 ]; then
  echo ', +' | sfdisk --quiet --no-reread --no-tell-kernel -N "$number" "/dev/${disk##*/}"
  partx --update --nr "$number" "/dev/${disk##*/}"
fi
resize2fs "$device"

# shellcheck shell=sh
# Grows the partition of the root file system if its disk has more than 1 MiB after the partition. Runs at each boot
# of an image with a partition.
# Values: none.
set -e
device=$(findmnt -no SOURCE /)
partition=$(readlink -f "/sys/class/block/${device##*/}")
disk=${partition%/*}
read -r number < "$partition/partition"
read -r start < "$partition/start"
read -r sectors < "$partition/size"
read -r available < "$disk/size"
[ $((available - start - sectors)) -gt 2048 ] || exit 0
echo ', +' | sfdisk --quiet --no-reread --no-tell-kernel -N "$number" "/dev/${disk##*/}"
partx --update --nr "$number" "/dev/${disk##*/}"

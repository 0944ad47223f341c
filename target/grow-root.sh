# shellcheck shell=sh
# Grows an ext4 root file system to the size of its disk; changes nothing if both sizes are equal.
# Values: none.
device=$(findmnt -no SOURCE /) || exit 1
kind=$(findmnt -no FSTYPE /) || exit 1
[ "$kind" = ext4 ] || exit 0
resize2fs "$device"

# shellcheck shell=sh
# Makes the root file system as large as its disk, where it is ext4; does nothing when it is already.
# Values: none.
device=$(findmnt -no SOURCE /) || exit 1
kind=$(findmnt -no FSTYPE /) || exit 1
[ "$kind" = ext4 ] || exit 0
resize2fs "$device"

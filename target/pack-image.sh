# shellcheck shell=sh
# Makes the disk, the kernel and the initrd of an image from the archive of its root file system. Runs on the operator's
# host, in the folder with rootfs.tar.
# Values: size (of the disk, in bytes).
#
# The script needs no loop device and no mount, because mke2fs copies the tree itself. Device nodes come from devtmpfs.
: "${size:?}"
set -e
mkdir tree
tar -C tree --exclude='./dev/*' -xf rootfs.tar
mv tree/index-dates .
cp -L tree/boot/vmlinuz-* kernel
cp -L tree/boot/initrd.img-* initrd
truncate -s "$size" disk.raw
mke2fs -q -t ext4 -L root -E lazy_itable_init=0,lazy_journal_init=0 -d tree disk.raw
rm -rf tree
chmod 644 kernel initrd disk.raw

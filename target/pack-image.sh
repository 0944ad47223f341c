# shellcheck shell=sh
# Makes the disk of an image from the archive of its root file system, and for QEMU also the kernel and the initrd. Runs
# on the operator's host, in the folder with rootfs.tar.
# Values: size (of the disk, in bytes), loader (qemu or grub), cmdline (the words for GRUB's kernel).
#
# The script needs no loop device and no mount, because mke2fs copies the tree itself. Device nodes come from devtmpfs.
: "${size:?}" "${loader:?}" "${cmdline:?}"
set -e
uuid=$(cat /proc/sys/kernel/random/uuid)
mkdir tree
tar -C tree --exclude='./dev/*' -xf rootfs.tar
mv tree/index-dates .

# Prints a number as four bytes, the lowest first.
four_bytes() { for bits in 0 8 16 24; do printf '%b' "\\0$(printf %o $(($1 >> bits & 255)))"; done; }

# Prints the first sectors of a disk with one partition, from sector $1 on, of $2 sectors: the master boot record with
# GRUB's first part, and GRUB itself in the gap before the partition.
boot_sectors() {
  head -c 446 tree/usr/lib/grub/i386-pc/boot.img
  printf '\200\376\377\377\203\376\377\377'
  four_bytes "$1"
  four_bytes "$2"
  head -c 48 /dev/zero
  printf '\125\252'
  cat grub
}

start=0
case $loader in
qemu)
  cp -L tree/boot/vmlinuz-* kernel
  cp -L tree/boot/initrd.img-* initrd
  chmod 644 kernel initrd
  ;;
grub)
  start=2048
  sed -i "s/^UUID/UUID=$uuid/" tree/etc/fstab
  mkdir -p tree/boot/grub
  # Debian's links to the newest kernel let an upgrade of the kernel take effect.
  printf 'linux /vmlinuz root=UUID=%s %s\ninitrd /initrd.img\nboot\n' "$uuid" "$cmdline" > tree/boot/grub/grub.cfg
  chroot tree grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /grub biosdisk part_msdos ext2 normal linux
  mv tree/grub .
  [ "$(wc -c < grub)" -le $(((start - 1) * 512)) ]
  ;;
esac
truncate -s "$size" disk.raw
# Debian 12 and its GRUB know these features. The mke2fs of a newer host has other features too by default.
features=none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg
features=$features,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
mke2fs -q -t ext4 -L root -U "$uuid" -O "$features" -d tree \
  -E "offset=$((start * 512)),lazy_itable_init=0,lazy_journal_init=0" disk.raw "$((size / 1024 - start / 2))k"
[ "$loader" = qemu ] || boot_sectors "$start" "$((size / 512 - start))" | dd of=disk.raw conv=notrunc status=none
rm -rf tree
chmod 644 disk.raw

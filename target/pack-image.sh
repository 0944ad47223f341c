# shellcheck shell=sh
# Builds the disk of an image, and for QEMU also the kernel and the initrd. Runs on the operator's host. The working
# folder has rootfs.tar (the root file system), or for NixOS `paths` (names of store paths) and `registration`.
# Values: size (of the disk, in bytes), loader (qemu, grub or nixos), label (of the root file system), cmdline (the
# words for GRUB's kernel), store (for NixOS: the folder with the store paths).
#
# The script needs no loop device and no mount, because mke2fs copies the tree itself. Device nodes come from
# devtmpfs.
: "${size:?}" "${loader:?}" "${label:?}" "${cmdline?}" "${store?}"
set -e
uuid=$(cat /proc/sys/kernel/random/uuid)
mkdir tree

# Prints a number as four bytes, least significant byte first.
four_bytes() { for bits in 0 8 16 24; do printf '%b' "\\0$(printf %o $(($1 >> bits & 255)))"; done; }

# Prints the first sectors of a disk with one partition, which begins at sector $1 and has $2 sectors. The output is
# the master boot record with GRUB's first part, and GRUB itself in the gap before the partition.
boot_sectors() {
  head -c 446 boot.img
  printf '\200\376\377\377\203\376\377\377'
  four_bytes "$1"
  four_bytes "$2"
  head -c 48 /dev/zero
  printf '\125\252'
  cat grub
}

start=0
case $loader in
nixos) ;;
*)
  tar -C tree --exclude='./dev/*' -xf rootfs.tar
  mv tree/index-dates .
  ;;
esac
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
  # Debian's links to the newest kernel are used, so a kernel upgrade takes effect.
  printf 'linux /vmlinuz root=UUID=%s %s\ninitrd /initrd.img\nboot\n' "$uuid" "$cmdline" > tree/boot/grub/grub.cfg
  chroot tree grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /grub biosdisk part_msdos ext2 normal linux
  mv tree/grub .
  cp tree/usr/lib/grub/i386-pc/boot.img .
  ;;
nixos)
  start=2048
  # These folders are mount points of NixOS; its activation creates all other folders.
  (umask 022 && cd tree && mkdir -p boot/grub dev etc nix/store proc run sys var)
  mkdir -m 1777 tree/tmp
  mkdir -m 700 tree/root
  while read -r path; do
    cp -R --no-dereference --preserve=mode,timestamps,links "$store/$path" tree/nix/store/
  done < paths
  cp registration tree/nix-path-registration
  chmod 644 tree/nix-path-registration
  # The last path is the one that depends on all others.
  parts=tree/nix/store/$(tail -n 1 paths)
  cp "$parts/grub.cfg" tree/boot/grub/grub.cfg
  cp "$parts/core.img" grub
  cp "$parts/boot.img" .
  chmod u+w tree/boot/grub/grub.cfg
  ;;
esac
[ "$loader" = qemu ] || [ "$(wc -c < grub)" -le $(((start - 1) * 512)) ]
truncate -s "$size" disk.raw
# Debian 12 and its GRUB support these features. The mke2fs of a newer host enables further features by default.
features=none,has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg
features=$features,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
mke2fs -q -t ext4 -L "$label" -U "$uuid" -O "$features" -d tree \
  -E "offset=$((start * 512)),lazy_itable_init=0,lazy_journal_init=0" disk.raw "$((size / 1024 - start / 2))k"
[ "$loader" = qemu ] || boot_sectors "$start" "$((size / 512 - start))" | dd of=disk.raw conv=notrunc status=none
rm -rf tree
chmod 644 disk.raw

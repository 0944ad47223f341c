# shellcheck shell=sh
# Checks whether the machine can boot another system once; changes nothing.
# Values: profile (of the boot default).
# Prints loader (grub or systemd-boot), and obstacle (a sentence) if a one-time boot is impossible.
: "${profile:?}" "${control:?}"
refuse() {
  say obstacle "$1"
  exit 0
}
# Prints a fact about the file system of a path, or of the nearest existing parent folder.
last_of() {
  existing=$2
  until [ -e "$existing" ]; do existing=${existing%/*}; done
  findmnt -no "$1" -T "${existing:-/}" | tail -n 1 | tr -d ' '
}

old=$(place_of "$profile")
[ -x "$old/bin/switch-to-configuration" ] || refuse "there is no system in $profile to fall back to"
case " $(systemctl show -p UnitPath --value) " in
  *" $control "*) ;;
  *) refuse "its systemd reads no units from $control" ;;
esac
for place in /etc /var/lib/hydra-ops; do
  case $(last_of FSTYPE "$place") in
    tmpfs | ramfs | overlay | squashfs | erofs) refuse "$place does not survive a reboot" ;;
    '') refuse "the file system of $place is unknown" ;;
  esac
done

# An old menu of GRUB may remain on a machine that systemd-boot starts.
if [ -n "$(systemd_boot_version)" ]; then
  say loader systemd-boot
  [ -r /boot/loader/loader.conf ] || refuse 'systemd-boot started the machine, and its menu is not on /boot'
  [ -x "$old/sw/bin/bootctl" ] || refuse 'its system has no bootctl'
  case ,$(last_of OPTIONS /sys/firmware/efi/efivars), in
    *,rw,*) ;;
    *) refuse 'the variables of its firmware are read-only' ;;
  esac
elif [ -r /boot/grub/grub.cfg ]; then
  say loader grub
  [ -x "$old/sw/bin/grub-editenv" ] ||
    refuse 'its system has no grub-editenv, as with boot.loader.grub.device = "nodev"'
  kind=$(last_of FSTYPE /boot)
  # GRUB cannot write to any other file system. The entry for one boot would otherwise stay, and every boot would use
  # it.
  case $kind in
    ext2 | ext3 | ext4 | vfat | xfs) ;;
    *) refuse "GRUB cannot write to the file system ${kind:-of unknown type} of /boot" ;;
  esac
  device=/sys/dev/block/$(last_of MAJ:MIN /boot)
  [ -e "$device" ] || refuse '/boot is on no block device'
  for part in dm md ../md; do
    [ ! -e "$device/$part" ] || refuse '/boot is on LVM, RAID or an encrypted disk, where GRUB cannot write'
  done
elif [ -r /boot/loader/loader.conf ]; then
  say loader systemd-boot
  # systemd-boot leaves a variable of the firmware in each boot.
  case $(last_of FSTYPE /sys/firmware/efi/efivars) in
    efivarfs) refuse 'another boot loader than the systemd-boot of /boot started the machine' ;;
    *) refuse 'its firmware has no EFI variables, or /sys/firmware/efi/efivars is not mounted' ;;
  esac
else
  refuse 'there is no menu of GRUB or systemd-boot on /boot'
fi

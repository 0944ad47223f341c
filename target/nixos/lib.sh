# shellcheck shell=sh
# Functions for the scripts that reach a NixOS machine over ssh, and for boot-prepare. The scripts that stay on the
# machine (arm, guard, switch, keep, fallback) do not use these functions. They take their programs from one system's
# store path.

# sudo may set a PATH that lacks the system's programs.
PATH=$PATH:/run/current-system/sw/bin

# Prints the path that a link resolves to; prints nothing for a broken link.
place_of() { readlink -e -- "$1" 2>/dev/null; }

# Prints the first line of a file; prints nothing if the file is missing.
first_line() { head -n 1 -- "$1" 2>/dev/null | head -c 500; }

# Folder with the units that end a failed one-time boot. systemd reads this folder in every generation.
control=/etc/systemd/system.control
control_wants=$control/sysinit.target.wants
# File with GRUB's variables.
grub_environment=/boot/grub/grubenv

# Says whether the machine was started by the one-time boot of run $1.
booted_once() {
  case " $(cat /proc/cmdline) " in *" hydra-ops.boot-once=$1 "*) ;; *) return 1 ;; esac
}

# Removes a one-time boot with its folder $1 and its profile $2: first from the boot loader, then its fallback. This
# order ensures that no boot enters the new system without the fallback.
forget_boot_once() {
  if grep -q '^next_entry=.*hydra_ops' "$grub_environment" 2> /dev/null; then
    grub-editenv "$grub_environment" unset next_entry && sync -f "$grub_environment" || return 1
  fi
  if [ -e /boot/loader/loader.conf ] && [ -d /sys/firmware/efi/efivars ] && [ -e "$1/oneshot" ]; then
    # An empty name removes the entry for the next boot.
    bootctl set-oneshot '' || return 1
  fi
  step boot-loader
  rm -f -- "$control_wants/hydra-ops-boot-once.timer" "$control/hydra-ops-boot-once.timer" \
    "$control/hydra-ops-boot-once.service" || return 1
  # The folders may hold other units, which stay.
  rmdir -- "$control_wants" "$control" 2> /dev/null
  step fallback
  rm -f -- "$2" "$2"-*-link || return 1
  step profile
  rm -rf -- "${1:?}"
}

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

# Prints a variable of systemd-boot; prints nothing if the firmware does not have the variable. The text has two bytes
# for each character, after four bytes of attributes. `tail` alone would fail, because it cannot seek in a variable.
loader_variable() {
  head -c 4096 "/sys/firmware/efi/efivars/$1-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f" 2> /dev/null | tail -c +5 |
    tr -d '\0'
}

# Prints the version of the systemd-boot that started the machine; prints nothing after another boot loader.
systemd_boot_version() {
  loader_variable LoaderInfo | sed -n 's/^systemd-boot \([0-9]*\).*/\1/p'
}

# Prints the last value of the word $1 in the configuration of systemd-boot.
loader_setting() { sed -n "s/^[[:space:]]*$1[[:space:]]\{1,\}//p" /boot/loader/loader.conf 2> /dev/null | tail -n 1; }

# Prints the file of the only entry of systemd-boot that matches the pattern $1; prints nothing if several entries do.
# The name of an entry with boot counting has its counters after a plus sign.
loader_entry() {
  [ -n "$1" ] || return 0
  set -- "/boot/loader/entries/${1%.conf}"
  only=''
  # shellcheck disable=SC2231 # The name may be a pattern.
  for each in $1.conf $1+*.conf; do
    if [ -e "$each" ] && [ "$each" != "$only" ]; then
      [ -z "$only" ] || return 0
      only=$each
    fi
  done
  [ -z "$only" ] || printf '%s\n' "$only"
}

# Prints the file of the entry that systemd-boot starts by default, or nothing if its rules leave a choice. The rules
# are those of systemd-boot 260; older versions do not know a preferred entry.
default_loader_entry() {
  version=$(systemd_boot_version)
  if [ "${version:-0}" -ge 260 ]; then
    for name in "$(loader_variable LoaderEntryPreferred)" "$(loader_setting preferred)"; do
      entry=$(loader_entry "$name")
      case $entry in '' | *+0.conf | *+0-*.conf) continue ;; esac
      printf '%s\n' "$entry"
      return 0
    done
  fi
  name=$(loader_variable LoaderEntryDefault)
  loader_entry "${name:-$(loader_setting default)}"
}

# Prints the system that the boot menu starts by default; prints nothing if the menu does not tell.
boot_default() {
  menu=/boot/grub/grub.cfg
  # An old menu of GRUB may remain on a machine that systemd-boot starts.
  if [ -n "$(systemd_boot_version)" ] || [ ! -r "$menu" ]; then menu=$(default_loader_entry); fi
  [ -n "$menu" ] || return 0
  sed -n 's,.*[[:space:]]init=\(/nix/store/[^[:space:]]*\)/init.*,\1,p' "$menu" 2> /dev/null | head -n 1
}

# Makes the boot menu safe from a power cut. On FAT, the file system of EFI, only the sync of a file or folder empties
# the cache of the disk; a sync of everything does not (measured).
sync_menu() { sync && sync /boot; }

# Removes a one-time boot with its folder $1 and its profile $2: first from the boot loader, then its fallback. This
# order ensures that no boot enters the new system without the fallback.
forget_boot_once() {
  if grep -q '^next_entry=.*hydra_ops' "$grub_environment" 2> /dev/null; then
    grub-editenv "$grub_environment" unset next_entry && sync -f "$grub_environment" || return 1
  fi
  # Read-only variables would not even allow the removal of a missing one.
  if [ -e "$1/oneshot" ] && [ -n "$(loader_variable LoaderEntryOneShot)" ]; then
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
  # A power cut may leave the copy of a part of the menu.
  rm -f -- /boot/grub/grub.cfg.hydra-ops /boot/loader/entries/*.conf.hydra-ops
  step profile
  rm -rf -- "${1:?}"
}

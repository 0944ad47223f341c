# shellcheck shell=sh
# Reads the facts of a machine. Every deploy runs this script, so it starts few programs.
# Values: profile (the link to the activated closure), owner_file (names the deployment that was activated last).
# Prints boot_id, systems (ID and ID_LIKE of os-release), os, profile, owner, nix (yes if Nix is installed), free_kib,
# reboot (if dpkg wants a reboot) and apt (packages that hydra-ops installed).
: "${profile:?}" "${owner_file:?}"
read -r boot_id < /proc/sys/kernel/random/boot_id
say boot_id "$boot_id"
# shellcheck disable=SC1091 # The machine's own.
if [ -r /etc/os-release ]; then . /etc/os-release; fi
say systems "${ID:-} ${ID_LIKE:-}"
say os "${PRETTY_NAME:-unknown}"
say profile "$(readlink -f "$profile" 2>/dev/null)"
owner=''
if [ -r "$owner_file" ]; then IFS= read -r owner < "$owner_file"; fi
say owner "$(printf %.100s "$owner")"
if command -v nix-store > /dev/null 2>&1; then say nix yes; fi
disk=/nix
[ -d "$disk" ] || disk=/
# The values are the free blocks for an unprivileged user and the block size.
free=$(stat -f -c '%a %S' "$disk") && say free_kib $((${free% *} * ${free#* } / 1024))
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then say reboot 1; fi
packages=''
if [ -r /var/lib/hydra-ops/apt-installed ]; then
  while IFS= read -r package || [ -n "$package" ]; do packages="$packages$package "; done < /var/lib/hydra-ops/apt-installed
fi
say apt "$packages"

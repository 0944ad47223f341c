# shellcheck shell=sh
# Reads the facts of a machine.
# Values: profile (the link to the activated closure), owner_file (names the deployment that was activated last).
# Prints boot_id, systems (ID and ID_LIKE of os-release), os, profile, owner, nix (where it is installed), free_kib,
# reboot (where dpkg wants one) and apt (packages that we installed).
: "${profile:?}" "${owner_file:?}"
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
# shellcheck disable=SC1091 # The machine's own.
if [ -r /etc/os-release ]; then . /etc/os-release; fi
say systems "${ID:-} ${ID_LIKE:-}"
say os "${PRETTY_NAME:-unknown}"
say profile "$(readlink -f "$profile" 2>/dev/null)"
say owner "$(head -n 1 "$owner_file" 2>/dev/null | head -c 100)"
if command -v nix-store > /dev/null 2>&1; then say nix yes; fi
disk=/nix
[ -d "$disk" ] || disk=/
say free_kib "$(df -Pk "$disk" | awk 'NR == 2 { print $4 }')"
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]; then say reboot 1; fi
say apt "$({ tr '\n' ' ' < /var/lib/hydra-ops/apt-installed; } 2>/dev/null)"

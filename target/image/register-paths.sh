# shellcheck shell=sh
# Registers the image's paths in the Nix database of a new machine. Makes the image's system a generation. Runs at each
# boot of the image `nixos`, and acts only at the first boot.
# Values: none.
set -e
registration=/nix-path-registration
[ -e "$registration" ] || exit 0
nix-store --load-db < "$registration"
nix-env -p /nix/var/nix/profiles/system --set "$(readlink -f /run/current-system)"
sync
rm "$registration"

# shellcheck shell=sh
# Registers the paths of the image in the Nix database of a new machine, and makes the image's system a generation. Runs
# at each boot of the image `nixos`, and acts at the first.
# Values: none.
set -e
registration=/nix-path-registration
[ -e "$registration" ] || exit 0
nix-store --load-db < "$registration"
nix-env -p /nix/var/nix/profiles/system --set "$(readlink -f /run/current-system)"
sync
rm "$registration"

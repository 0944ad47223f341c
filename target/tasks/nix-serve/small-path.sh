# shellcheck shell=sh
# Puts a file of a few bytes into the Nix store, and prints `path=`. The garbage collector may remove the file.
folder=$(mktemp -d) || exit 1
trap 'rm -rf -- "$folder"' EXIT
echo 'hydra-ops asks for this file, to prove that nix-serve serves' > "$folder/hydra-ops-nix-serve-proof" || exit 1
path=$(nix-store --add "$folder/hydra-ops-nix-serve-proof") || exit 1
say path "$path"

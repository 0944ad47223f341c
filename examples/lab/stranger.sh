#!/bin/sh
# Puts a path on `ci` into Hydra's cache with a signature of a foreign key, and prints the path.
#   hydra-ops ssh -d lab ci -- sh < stranger.sh
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nix-store --generate-binary-cache-key stranger-1 "$work/secret" "$work/public"
# The path is built, not added: a path that is named after its content needs no signature.
# shellcheck disable=SC2016 # the builder expands it
path=$(nix-build --quiet --no-out-link --expr 'derivation {
  name = "stranger";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" "echo signed by a stranger > $out" ];
}')
nix --extra-experimental-features nix-command copy --quiet \
  --to "file:///var/lib/hydra/cache?secret-key=$work/secret" "$path"
printf '%s\n' "$path"

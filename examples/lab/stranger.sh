#!/bin/sh
# Adds a path, signed with a foreign key, to Hydra's cache on `ci`, and prints the path.
#   hydra-ops ssh -d lab ci -- sh < stranger.sh
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nix-store --generate-binary-cache-key stranger-1 "$work/secret" "$work/public"
# The path is built, not added, because a content-addressed path needs no signature.
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

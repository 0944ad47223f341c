# shellcheck shell=sh
# Signs a store path and prints the cache's description of it.
# Values: secret_url (path of the secret key, encoded for a URL).
#
# Nix has no stable command for signing. A copy into a cache with `secret-key` signs; this is the only experimental
# command that hydra-ops uses here. The path is tiny and always the same. The garbage collector may remove the path.
: "${secret_url:?}"
work=$(mktemp -d) || exit 1
trap 'rm -rf -- "$work"' EXIT
echo 'signed by hydra-ops to prove its key' > "$work/hydra-ops-signature-test"
path=$(nix-store --add "$work/hydra-ops-signature-test") || exit 1
nix --extra-experimental-features nix-command copy \
  --to "file://$work/cache?compression=none&secret-key=$secret_url" "$path" > /dev/null || exit 1
cat "$work"/cache/*.narinfo

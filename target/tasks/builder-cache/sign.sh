# shellcheck shell=sh
# Signs every path of the store once. Nix signs later builds by itself, but not older paths.
# Values: secret (path of the secret key), public (the public key), mark (path of the mark of signed paths).
#
# Nix has no stable command for signing. The command has a different name before Nix 2.4.
: "${secret:?}" "${public:?}" "${mark:?}"
[ "$(head -n 1 -- "$mark" 2>/dev/null)" != "$public" ] || exit 0
said=$(mktemp) || exit 1
trap 'rm -f -- "$said"' EXIT
nix --extra-experimental-features nix-command store sign --all --key-file "$secret" > "$said" 2>&1 < /dev/null ||
  nix sign-paths --all --key-file "$secret" >> "$said" 2>&1 < /dev/null || {
  cat "$said" >&2
  exit 1
}
sed -n '/^added/p' "$said"
step 'the paths are signed'
printf '%s\n' "$public" | replace_file "$mark" || exit 1
step 'the signing is noted'

# shellcheck shell=sh
# Builds a tiny path, with which other machines prove that they can fetch from this machine. No other machine has the
# path.
# Values: public (the public key), root (link that keeps the path).
# Prints `sample=` (the path), or fails if the path has no signature.
#
# The builder /bin/sh is in every sandbox. The daemon builds and signs the path, as it does for builds of other users.
: "${public:?}" "${root:?}"
cd / || exit 1
work=$(mktemp -d) || exit 1
trap 'rm -rf -- "$work"' EXIT
printf '%s\n' "derivation {
  name = \"hydra-ops-builder-cache\"; system = builtins.currentSystem; builder = \"/bin/sh\";
  args = [ \"-c\" \"echo '$public' > \$out\" ]; }" > "$work/sample.nix"
derivation=$(NIX_REMOTE=daemon nix-instantiate "$work/sample.nix" 2> "$work/said") || {
  cat "$work/said" >&2
  exit 1
}
NIX_REMOTE=daemon nix-store --realise "$derivation" --add-root "$root" --option builders '' --option substituters '' \
  --max-jobs 1 > /dev/null 2> "$work/said" || {
  cat "$work/said" >&2
  exit 1
}
sample=$(readlink -f -- "$root")
nix --extra-experimental-features nix-command path-info --sigs "$sample" 2> "$work/said" |
  grep -qF -- " ${public%%:*}:" || {
  cat "$work/said" >&2
  echo "$sample has no signature by ${public%%:*}, so Nix does not read its secret-key-files" >&2
  exit 1
}
say sample "$sample"

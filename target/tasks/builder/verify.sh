# shellcheck shell=sh
# Queries the Nix daemon once as the account with which other machines build here, and checks the settings.
# Values: user, features (that Nix must offer).
: "${user:?}" "${features?}"
split_by_line
cd / || exit 1
runuser -u "$user" -- env NIX_REMOTE=daemon nix-store --check-validity --print-invalid \
  /nix/store/00000000000000000000000000000000-hydra-ops > /dev/null || {
  echo "user $user cannot use the Nix daemon" >&2
  exit 1
}
settings=$(settings_of_nix) || settings=
# Nix may show no settings, and then nothing can be compared. A test build shows more.
[ -n "$settings" ] || exit 0
for pair in trusted-users:"$user" $(for each in $features; do echo "system-features:$each"; done); do
  printf '%s\n' "$settings" | grep -E "^${pair%%:*} = " | tr ' ' '\n' | grep -qxF -- "${pair#*:}" || {
    echo "${pair#*:} is not among the ${pair%%:*} of this machine's Nix" >&2
    exit 1
  }
done

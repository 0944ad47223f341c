# shellcheck shell=sh
# Queries the Nix daemon as each of the given users.
# Values: users (names).
: "${users:?}"
split_by_line
cd / || exit 1
for user in $users; do
  runuser -u "$user" -- env NIX_REMOTE=daemon nix-store --check-validity --print-invalid \
    /nix/store/00000000000000000000000000000000-hydra-ops > /dev/null || {
    echo "user $user cannot use the Nix daemon" >&2
    exit 1
  }
done

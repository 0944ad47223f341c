# shellcheck shell=sh
# Logs in to a builder as the user who builds there, and speaks the store protocol.
# Values:
#   run_as    user of this machine
#   scheme    ssh, or ssh-ng for the protocol of the daemon
#   address   USER@HOST of the builder
#   key       path of the private key
#   host_key  content of the builder's public key file, in base64
#
# The query asks whether the builder has a path that no store has. The builder answers with this path, because it is
# missing.
: "${run_as:?}" "${scheme:?}" "${address:?}" "${key:?}" "${host_key:?}"
cd / || exit 1
absent=/nix/store/00000000000000000000000000000000-hydra-ops
store="$scheme://$address?ssh-key=$(percent_coded "$key")&base64-ssh-public-host-key=$(percent_coded "$host_key")"
answer=$(as_user "$run_as" env NIX_REMOTE="$store" NIX_SSHOPTS='-o BatchMode=yes -o ConnectTimeout=60' \
  nix-store --check-validity --print-invalid "$absent" < /dev/null) || exit 1
[ "$answer" = "$absent" ] || {
  echo "the builder's answer is not the expected path: $answer" >&2
  exit 1
}

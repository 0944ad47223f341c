# shellcheck shell=bash
# Shows the lab's result: `client` fetches builds of the Hydra on `ci` over the LAN. Paths with a different
# signature are refused. scripts/lab sources this file, which uses its `name`, `paste` and `folder`. Each command is
# printed, so that users can paste it after the definition of `hydra-ops` above it.
# shellcheck disable=SC2154

# Query for Hydra's newest build: the build of the set-up task hydra-proof, unless a later build exists.
newest_build="select path from buildoutputs o join builds b on b.id = o.build where b.buildstatus = 0 order by b.id desc limit 1"
path_info='nix --extra-experimental-features nix-command path-info --sigs'

prove() {
  local built
  built=$(ops ssh -d "$name" ci -- "cd / && runuser -u hydra -- psql -At -c '$newest_build' hydra")
  [ -n "$built" ] || give_up 'Hydra has built nothing yet' "$paste setup verify -d $name"
  if on_client nix-store --check-validity "$built" 2>/dev/null; then
    printf '\nclient already has the newest build of Hydra: %s\n' "$built"
    return
  fi
  printf '\nhydra-ops() { %s "$@"; }\n' "$paste"
  prove_substitution "$built"
  prove_refusal
}

prove_substitution() {
  heading 'Hydra built a path on ci. client lacks the path, and takes the path from the cache, signed by the trusted key'
  expect_failure on_client_shown nix-store --check-validity "$1"
  on_client_shown nix-store --realise "$1"
  on_client_shown "$path_info" "$1"
}

prove_refusal() {
  local script="$folder/examples/lab/stranger.sh" theirs said status=0
  heading 'Another key signs another path in the same cache, and client refuses the path'
  show ssh -d "$name" ci -- sh "< $script"
  theirs=$(ops ssh -d "$name" ci -- sh <"$script")
  printf '%s\n' "$theirs"
  said=$(expect_failure on_client_shown nix-store --realise "$theirs") || status=$?
  printf '%s\n' "$said"
  [ "$status" = 0 ] || exit "$status"
  [[ "$said" == *'is not signed by any of the keys'* ]] || give_up 'client refused the path, but not because of the signature'
}

heading() { printf '\n-- %s\n' "$1"; }

show() { printf '$ hydra-ops %s\n' "$*"; }

on_client() { ops ssh -d "$name" client -- "$@"; }

on_client_shown() {
  show ssh -d "$name" client -- "$@"
  on_client "$@" 2>&1
}

# Expects a command to fail with status 1. A failed connection (status 255) does not count.
expect_failure() {
  local status=0
  "$@" || status=$?
  case $status in
    0) give_up "this command should have failed: ${*:2}" ;;
    1) return 0 ;;
    *) give_up "this command ended with status $status: ${*:2}" ;;
  esac
}

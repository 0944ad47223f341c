# shellcheck shell=sh
# Builds a new derivation on exactly one builder, by Nix's own remote builds, as the user who builds there.
# Values:
#   run_as      user of this machine; empty means the current user
#   through     `daemon`, `own` (a separate store), or `itself` (the daemon without builders)
#   list        path of the list of builders
#   name        name of the builder in the list
#   line        line of a builder, in place of list and name
#   ssh_config  configuration of ssh for the login; empty means the default configuration
#   system      system of the build
#   features    features that the build requires
#   stamp       text that makes the derivation new
# Prints `on=` (the builder that Nix names), and on standard error all output of Nix.
# Exit status 3: the list has no such builder.
#
# A queue runner does not use the daemon, but logs in to builders itself. A separate store makes Nix log in as the
# user of the queue runner.
: "${run_as?}" "${through:?}" "${list?}" "${name?}" "${line?}" "${ssh_config?}" "${system:?}" "${features?}" "${stamp:?}"
split_by_line
cd / || exit 1
[ -n "$line" ] || line=$(awk -v name="$name" '$1 == name { $4 = $4 == 0 ? 1 : $4; print; exit }' "$list")
[ -n "$line" ] || exit 3
work=$(mktemp -d) || exit 1
trap 'chmod -R u+w -- "$work"; rm -rf -- "$work"' EXIT
[ -z "$run_as" ] || chown -- "$run_as" "$work" || exit 1
required=
for each in $features; do required="$required \"$each\""; done
printf '%s\n' "derivation {
  name = \"hydra-ops-builder-$stamp\"; system = \"$system\"; builder = \"/bin/sh\";
  args = [ \"-c\" \"echo $stamp > \$out\" ]; requiredSystemFeatures = [$required ]; }" > "$work/build.nix"
jobs=0
case $through in
  daemon) store=daemon ;;
  itself) store=daemon jobs=1 line= ;;
  *) store=$work/store NIX_STATE_DIR=$work/state && export NIX_STATE_DIR ;;
esac
# Nix splits the options of ssh at spaces.
ssh_options='-o BatchMode=yes'
if [ -n "$ssh_config" ]; then
  ln -s -- "$ssh_config" "$work/ssh_config" || exit 1
  ssh_options="-F $work/ssh_config $ssh_options"
fi
as_builder() { as_user "$run_as" env HOME="$work" NIX_REMOTE="$store" NIX_SSHOPTS="$ssh_options" "$@" < /dev/null; }
derivation=$(as_builder nix-instantiate "$work/build.nix" 2> "$work/said") || {
  cat "$work/said" >&2
  exit 1
}
# The result has no root of the garbage collector, so the next collection removes it.
# A daemon that does not trust the user ignores this line, and uses its own lists.
as_builder nix-store --realise "$derivation" --option builders "$line" --option substituters '' \
  --max-jobs "$jobs" > /dev/null 2> "$work/said"
status=$?
cat "$work/said" >&2
[ "$status" -eq 0 ] || exit 1
on=$(sed -n "s/^building '.*' on '\\(.*\\)'\\.\\.\\.$/\\1/p" "$work/said" | head -n 1)
[ "$through" != itself ] || on=localhost
[ -n "$on" ] || {
  echo 'Nix names no builder for the build' >&2
  exit 1
}
say on "$on"

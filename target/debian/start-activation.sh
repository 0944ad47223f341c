# shellcheck shell=sh
# Starts the activation in a unit that needs no connection, and removes old logs.
# Values: unit, log (path), closure, options (of the activation program).
#
# Three options are wrong here (measured). `--pipe` dies with the connection. `--collect` makes a vanished unit look
# like a success. `--wait` gives 0 for a failure across `daemon-reexec`.
: "${unit:?}" "${log:?}" "${closure:?}" "${options:?}"
split_by_line
if ! [ -d /run/systemd/system ]; then
  echo 'systemd is not running on this machine' >&2
  exit 1
fi
umask 077
folder=${log%/*}
mkdir -p "$folder" || exit 1
# shellcheck disable=SC2012 # ls sorts by age; the names are ours, and plain.
ls -t "$folder" | tail -n +20 | while IFS= read -r old; do rm -f -- "$folder/$old"; done
# shellcheck disable=SC2086 # A list: one word a line.
exec systemd-run --quiet --unit="$unit" --service-type=exec --remain-after-exit \
  -p StandardOutput="append:$log" -p StandardError=inherit \
  /usr/bin/perl "$closure/hydra-ops/activate.pl" "$closure" --run "$unit" $options

# shellcheck shell=sh
# Stops units while the disk of the Nix store has too little room, and starts again those that it stopped itself.
# Values: checks, records of a unit, the file that notes that it was stopped, and two numbers of KiB: with less room than
# the first it stops, with more than the second it starts.
#
# It stays on the machine as a file, without the functions of any lib.sh, and a timer runs it.
: "${checks:?}"
free=$(df --output=avail -k /nix/store | tail -n 1)
while IFS=: read -r unit mark least enough; do
  if [ "$free" -lt "$least" ]; then
    if systemctl -q is-active "$unit"; then
      touch "$mark"
      systemctl stop "$unit"
    fi
  elif [ -e "$mark" ] && [ "$free" -gt "$enough" ]; then
    rm "$mark"
    systemctl start "$unit"
  fi
done <<END
$checks
END

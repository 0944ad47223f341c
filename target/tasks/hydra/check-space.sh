# shellcheck shell=sh
# Stops units while the disk of the Nix store is too full, and restarts only units that it stopped itself.
# Values: checks, records of a unit, the mark file of the stopped unit, and two numbers of free KiB. The unit stops
# below the first number and starts above the second.
#
# The script stays on the machine as a file, without the functions of any lib.sh, and a timer runs it.
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

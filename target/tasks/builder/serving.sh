# shellcheck shell=sh
# Counts the builds of other machines on this machine. Each build has a process that serves the store.
# Values: user (the account of the logins).
# Prints `serving=` (the number of processes).
: "${user:?}"
count=0
for status in /proc/[0-9]*/status; do
  [ "$(stat -c %U -- "$status" 2>/dev/null)" = "$user" ] || continue
  name=$(sed -n 's/^Name:[[:space:]]*//p' "$status" 2>/dev/null)
  [ "$name" != nix-store ] || count=$((count + 1))
done
say serving "$count"

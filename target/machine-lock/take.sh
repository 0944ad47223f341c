# shellcheck shell=sh
# Takes the lock that keeps other operators from setting up the machine.
# Values: file, who (the taker), stale (seconds after which a lock counts no more).
# Ends with status 75 where somebody else has it, and prints that holder and the age of the lock in seconds.
: "${file:?}" "${who:?}" "${stale:?}"
mkdir -p -- "${file%/*}" || exit 1
lock_folder "$file" || exit 1
if since=$(stat -c %Y -- "$file" 2>/dev/null); then
  holder=$(cat -- "$file")
  age=$(($(date +%s) - since))
  if [ "$holder" != "$who" ] && [ "$age" -lt "$stale" ]; then
    printf '%s\n' "$holder" "$age"
    exit 75
  fi
fi
printf '%s\n' "$who" | replace_file "$file"

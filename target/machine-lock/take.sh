# shellcheck shell=sh
# Takes the lock against other operators' set-ups of the machine.
# Values: file, who (the taker), stale (seconds after which a lock expires).
# Exit status 75: another operator has the lock; prints the holder and the lock's age in seconds.
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

# shellcheck shell=sh
# Takes the machine's lock against other operators.
# Values: file, who (the taker), stale (seconds after which a lock expires).
# Exit status 75: another operator has the lock; prints the holder and the lock's age in seconds.
: "${file:?}" "${who:?}" "${stale:?}"
# The automatic update also holds a kernel lock until it ends, and that lock never expires (target/auto-update).
still_works() {
  if [ "$1" = 'its automatic update' ]; then
    ! flock -n "${file%/*}/auto-update.lock" true
  else
    [ "$2" -lt "$stale" ]
  fi
}
mkdir -p -- "${file%/*}" || exit 1
lock_folder "$file" || exit 1
if since=$(stat -c %Y -- "$file" 2>/dev/null); then
  holder=$(cat -- "$file")
  age=$(($(date +%s) - since))
  if [ "$holder" != "$who" ] && still_works "$holder" "$age"; then
    printf '%s\n' "$holder" "$age"
    exit 75
  fi
fi
printf '%s\n' "$who" | replace_file "$file"

# shellcheck shell=sh
# Runs the new system's switch-to-configuration within the unit of the activation, then watches the services. Nothing
# here needs a connection.
# Values: old, new (systems), folder, action (test, dry-activate), watch_seconds, watch_longer_seconds,
# sample_seconds, confirm_seconds.
# Leaves in the folder: `before` (samples of services before the switch), `ended` (exit status), `samples`, `watched`
# (the first watch is over), `settled` (the longer watch too).
#
# A sample has a line `NUMBER UNIT RESTARTS STATE RESULT` for each service that failed or ever restarted. The switch
# itself returns 0 for a service in a crash loop (measured). A single sample is not enough, because such a service
# runs between two crashes.
: "${old:?}" "${new:?}" "${folder:?}" "${action:?}" "${watch_seconds:?}" "${watch_longer_seconds:?}"
: "${sample_seconds:?}" "${confirm_seconds:?}"
PATH=$old/sw/bin
export PATH LC_ALL=C HOME=/root
cd / || exit 1

# Writes a file of the folder atomically: a reader finds the complete text or no file.
leave() { printf '%s\n' "$2" > "$folder/$1.new" && mv -T -- "$folder/$1.new" "$folder/$1"; }

sample() {
  systemctl show -p Id,NRestarts,SubState,Result -- '*.service' 2> /dev/null | {
    id='' restarts=0 state='' result=''
    while IFS= read -r line; do
      case $line in
        Id=*) id=${line#*=} ;;
        NRestarts=*) restarts=${line#*=} ;;
        SubState=*) state=${line#*=} ;;
        Result=*) result=${line#*=} ;;
        '')
          tell "$id" "$1 $id" "$restarts" "$state $result"
          id='' restarts=0 state='' result=''
          ;;
      esac
    done
    tell "$id" "$1 $id" "$restarts" "$state $result"
  }
}
tell() {
  case $1 in '' | hydra-ops-*) return 0 ;; esac
  case "$3 $4" in '0 failed '* | '0 auto-restart '* | [1-9]*) echo "$2 $3 $4" ;; esac
}

number=0 last=''
watch() {
  read -r uptime _ < /proc/uptime
  end=$((${uptime%%.*} + $1))
  while :; do
    last=$(sample "$number")
    [ -z "$last" ] || printf '%s\n' "$last" >> "$folder/samples"
    number=$((number + 1))
    read -r uptime _ < /proc/uptime
    [ "${uptime%%.*}" -lt "$end" ] || break
    sleep "$sample_seconds"
  done
}

sample before > "$folder/before"
"$new/bin/switch-to-configuration" "$action" < /dev/null
leave ended $?
[ "$action" = test ] || watch_seconds=0 watch_longer_seconds=0
if [ "$watch_seconds" -gt 0 ]; then watch "$watch_seconds"; fi
# The time for the confirmation begins here, because the watch takes longer on a busy machine.
if [ -e "$folder/armed" ]; then
  deadline_name=short deadline_seconds=$confirm_seconds bash "$folder/arm" ||
    echo 'hydra-ops: the second timer of the guard could not be set; the first one stays'
fi
leave watched "$number"
# A service that waits for its next start may be in a crash loop with a long period.
case $last in
  *' auto-restart '*) if [ "$watch_longer_seconds" -gt 0 ]; then watch "$watch_longer_seconds"; fi ;;
esac
leave settled "$number"

/**
 * Stand-ins for systemd in a machine made of namespaces. The stand-ins keep files for each unit in
 * /run/units. NAME.pid exists while the unit's program runs, and NAME.code has the exit status afterwards.
 * NAME.timer stands for a timer, and NAME.argv has the program of the timer's service. A unit without
 * --remain-after-exit is removed after its end. Services of a system are in /run/services, each with its
 * restarts, its state and its result.
 */
const functions = `
units=/run/units services=/run/services
mkdir -p $units $services
launch() {
  unit=$1 log=$2 remains=$3
  shift 3
  # A unit of systemd has a umask of its own.
  umask 022
  rm -f "$units/$unit.code" "$units/$unit.pid"
  : > "$units/$unit"
  export unit log units remains
  # A program that ends at once must not remove its pid before the pid is noted.
  setsid sh -c 'until [ -s "$units/$unit.pid" ]; do sleep 0.05; done
"$@" >> "$log" 2>&1; echo $? > "$units/$unit.new"
if [ -n "$remains" ]; then mv "$units/$unit.new" "$units/$unit.code"; else rm -f "$units/$unit" "$units/$unit.new" "$units/$unit.pid"; fi' sh "$@" > /dev/null 2>&1 < /dev/null &
  echo $! > "$units/$unit.pid"
}
launch_timed() {
  file=$units/$1.argv
  [ -e "$file" ] || return 5
  set -- "$1"
  while IFS= read -r word; do set -- "$@" "$word"; done < "$file"
  name=$1
  shift
  launch "$name" /dev/null '' "$@"
}
`

export const systemdRun = `${functions}
log=/dev/null unit= timed= remains=
while :; do
  case $1 in
    --quiet | --service-type=exec | --property=*) ;;
    --remain-after-exit) remains=yes ;;
    --unit=*) unit=\${1#*=} ;;
    --on-boot=*s | --timer-property=OnCalendar=@* | --timer-property=AccuracySec=100ms | --timer-property=RemainAfterElapse=yes) timed=yes ;;
    --setenv=due=*) ;;
    -p)
      shift
      case $1 in
        StandardOutput=append:*) log=\${1#*append:} ;;
        StandardError=inherit) ;;
        *) echo "Unknown assignment: $1" >&2; exit 1 ;;
      esac ;;
    -*) echo "systemd-run: unrecognized option $1" >&2; exit 1 ;;
    *) break ;;
  esac
  shift
done
case $unit in *.service) ;; *) unit=$unit.service ;; esac
if [ -e "$units/$unit" ] || [ -e "$units/$unit.argv" ]; then
  echo "Failed to start transient service unit: Unit $unit was already loaded or has a fragment file." >&2
  exit 1
fi
if [ -n "$timed" ]; then
  printf '%s\\n' "$@" > "$units/$unit.argv"
  : > "$units/\${unit%.service}.timer"
  exit 0
fi
launch "$unit" "$log" "$remains" "$@"
exit 0`

export const systemctl = `${functions}
while case $1 in --quiet | --no-block) ;; *) false ;; esac; do shift; done
verb=$1
shift
while case \${1-} in --quiet | --no-block | --plain | --no-legend) ;; *) false ;; esac; do shift; done
sub_state() {
  if [ ! -e "$units/$1" ]; then echo dead
  elif [ ! -e "$units/$1.code" ]; then echo running
  elif [ "$(cat "$units/$1.code")" = 0 ]; then echo exited
  else echo failed; fi
}
show_unit() {
  load=loaded sub=$(sub_state "$1") result=success
  case $sub in
    dead) load=not-found active=inactive ;;
    failed) active=failed result=exit-code ;;
    *) active=active ;;
  esac
  printf '%s\\n' "Id=$1" "LoadState=$load" "ActiveState=$active" "SubState=$sub" "Result=$result"
}
start_service() {
  file=/run/systemd/system/$1
  [ -e "$file" ] || { echo "Unit $1 not found." >&2; return 5; }
  program=$(sed -n 's/^ExecStart=//p' "$file")
  if sh -c "$program"; then echo "0 running success" > "$services/$1"; return 0; fi
  echo "0 failed exit-code" > "$services/$1"
  return 1
}
remove() {
  if [ -e "$units/$1.timer" ] || [ "\${1%.timer}" != "$1" ]; then
    [ -e "$units/$1" ] || { echo "Unit $1 not loaded." >&2; return 5; }
    rm -f "$units/$1" "$units/\${1%.timer}.service.argv"
  elif [ -e "$services/$1" ]; then rm -f "$services/$1"
  elif [ -e "$units/$1" ]; then
    [ -e "$units/$1.code" ] || kill -KILL -- "-$(cat "$units/$1.pid")"
    rm -f "$units/$1" "$units/$1.code" "$units/$1.pid"
  else echo "Unit $1 not loaded." >&2; return 5; fi
}
case $verb in
  show)
    case "$1 $2 \${3-}" in
      '-p UnitPath --value') echo /etc/systemd/system.control /etc/systemd/system ;;
      '-p SubState --value') sub_state "$5" ;;
      "-p Id,LoadState,ActiveState,SubState,Result --") show_unit "$4" ;;
      "-p Id,NRestarts,SubState,Result --")
        for each in "$services"/*; do
          [ -e "$each" ] || continue
          read -r restarts state result < "$each"
          printf 'Id=%s\\nNRestarts=%s\\nSubState=%s\\nResult=%s\\n\\n' "\${each##*/}" "$restarts" "$state" "$result"
        done ;;
      *) echo "unexpected: show $*" >&2; exit 1 ;;
    esac ;;
  list-units)
    shift
    for pattern do
      for each in "$units"/$pattern; do
        [ ! -e "$each" ] || [ "$(sub_state "\${each##*/}")" != running ] || echo "\${each##*/} loaded active running x"
      done
    done ;;
  is-active)
    for pattern do
      for each in "$units"/$pattern; do
        case $each in
          *.timer) [ ! -e "$each" ] || exit 0 ;;
          *) [ "$(sub_state "\${each##*/}")" != running ] || exit 0 ;;
        esac
      done
      [ ! -e "$services/$pattern" ] || ! grep -q ' running ' "$services/$pattern" || exit 0
    done
    exit 3 ;;
  is-failed) grep -q ' failed ' "$services/$1" 2> /dev/null ;;
  stop)
    [ "$1" != -- ] || shift
    status=0
    for each do remove "$each" || status=$?; done
    exit $status ;;
  reset-failed)
    [ "\${1-}" != -- ] || shift
    if [ $# -gt 0 ]; then for each do [ -e "$units/$each" ] || { echo "Unit $each not loaded." >&2; exit 1; }; done; fi
    for each in "$units"/*.code; do
      [ -e "$each" ] && [ "$(cat "$each")" != 0 ] || continue
      rm -f "\${each%.code}" "$each" "\${each%.code}.pid"
    done ;;
  kill)
    if [ "$1 $2 $3" != '-s KILL --' ] || [ "$(sub_state "$4")" != running ]; then echo "Unit $4 not running." >&2; exit 1; fi
    kill -KILL -- "-$(cat "$units/$4.pid")"
    echo 137 > "$units/$4.code" ;;
  start | restart)
    case $1 in
      hydra-ops-guard-*) launch_timed "$1" || { echo "Unit $1 not found." >&2; exit 5; } ;;
      *) start_service "$1" ;;
    esac ;;
  fire)
    # No command of systemd: the time of each timer is over.
    for each in "$units"/*.timer; do
      [ ! -e "$each" ] || { name=\${each##*/}; due=0 launch_timed "\${name%.timer}.service"; }
    done ;;
  reboot) [ ! -e /run/test/no-reboot ] || { echo 'Call to Reboot failed' >&2; exit 1; }; echo asked >> /run/test/reboots ;;
  daemon-reload) ;;
  *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac`

/** Stand-ins for programs of a one-time boot, on a machine with GRUB and one ext4 file system. */
export const bootPrograms = {
  findmnt: `
[ "$1 $3" = '-no -T' ] || { echo "findmnt: unexpected: $*" >&2; exit 1; }
case $2 in FSTYPE) echo ext4 ;; MAJ:MIN) echo 254:1 ;; *) exit 1 ;; esac`,
  'grub-editenv': `
file=$1 name=\${3%%=*}
[ -e "$file" ] || echo '# GRUB Environment Block' > "$file"
case $2 in
  set) sed "/^$name=/d" "$file" > "$file.new"; printf '%s\\n' "$3" >> "$file.new"; mv "$file.new" "$file" ;;
  unset) sed "/^$name=/d" "$file" > "$file.new"; mv "$file.new" "$file" ;;
  *) echo "grub-editenv: error: Unknown command '$2'." >&2; exit 1 ;;
esac`,
}

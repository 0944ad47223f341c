# shellcheck shell=sh
# Confirms a one-time boot: renames the fallback's file before the fallback does. The caller runs this script over a
# login that began after the boot.
# Values: run, new (system), once (folder of the one-time boot).
# Prints boot (id), current (system) and entered (yes if the machine was started by the one-time boot). Prints the
# state after this script (none, armed, confirmed or fired) and won (yes for a confirmed boot).
: "${run:?}" "${new:?}" "${once:?}"
entered=no won=no
if booted_once "$run"; then entered=yes; fi
current=$(place_of /run/current-system)
if [ "$entered" = yes ] && [ "$current" = "$new" ] && [ "$(first_line "$once/run")" = "$run" ]; then
  if mv -T -- "$once/armed" "$once/confirmed" 2> /dev/null; then
    step confirmed
    sync -f "$once"
  elif [ -e "$once/armed" ]; then
    echo "the file $once/armed cannot be renamed; is the disk broken or full?" >&2
    exit 1
  fi
  if [ -e "$once/confirmed" ] && [ ! -e "$once/fired" ]; then
    systemctl stop hydra-ops-boot-once.timer 2> /dev/null
    won=yes
  fi
fi
state=none
if [ "$(first_line "$once/run")" = "$run" ]; then
  for each in armed confirmed fired; do
    [ ! -e "$once/$each" ] || state=$each
  done
fi
say boot "$(cat /proc/sys/kernel/random/boot_id)"
say current "$current"
say entered "$entered"
say state "$state"
say won "$won"

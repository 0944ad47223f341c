# shellcheck shell=sh
# Installs packages in one transaction of apt.
# Values: packages, ours (names that the activation may remove later, and that are therefore recorded), answers (lines
# for debconf-set-selections). The environment gives conf (a file with apt's configuration, which is removed at the
# end).
#
# apt itself waits for dpkg's lock (DPkg::Lock::Timeout). This script waits for the locks of the lists and of `dpkg
# --configure -a`. /proc/locks identifies a file by its inode number, which is not unique across disks. The script
# therefore also checks that the process has the file open.
: "${packages:?}" "${ours?}" "${answers?}" "${conf:?}"
split_by_line
# Programs that apt starts must not inherit the variables of this script.
apt_conf=$conf
unset conf
umask 022
trap 'rm -f -- "$apt_conf"' EXIT
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
own=/var/lib/hydra-ops
# Seconds to wait for other programs that hold the locks of dpkg and apt: unattended-upgrades takes minutes.
lock_seconds=300
# Age in minutes at which the package index is fetched again before an installation: one day.
index_minutes=1440
mkdir -p "$own" || exit 1

has_open() (
  set +f
  for fd in /proc/"$1"/fd/*; do
    # shellcheck disable=SC3013 # POSIX has it since 2024, each shell that Debian has as sh for decades.
    if [ "$fd" -ef "$2" ]; then exit 0; fi
  done
  exit 1
)

# Sets pid to a process that holds a lock on file $1.
holder() {
  inode=$(stat -c %i -- "$1" 2>/dev/null) || return 1
  # shellcheck disable=SC2013 # A number a line; a `while read` after a pipe could not set pid.
  for pid in $(awk -v end=":$inode" '{ n = length($6) - length(end) + 1 } n > 0 && substr($6, n) == end { print $5 }' /proc/locks); do
    if has_open "$pid" "$1"; then return 0; fi
  done
  return 1
}

wait_for_locks() {
  left=$lock_seconds
  for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
    while holder "$lock"; do
      if [ "$left" -le 0 ]; then
        echo "E: $lock has been held by process $pid for $lock_seconds s"
        exit 1
      fi
      if [ $((left % 10)) -eq 0 ]; then echo "waiting for $lock, held by process $pid"; fi
      sleep 1
      left=$((left - 1))
    done
  done
}

answer() {
  package=${1%% *} rest=${1#* }
  question=${rest%% *}
  if debconf-show "$package" 2>/dev/null | grep -qF "* $question:"; then return; fi
  printf '%s\n' "$1" | debconf-set-selections || {
    echo "E: debconf rejects the answer to $question"
    exit 1
  }
}

write_down() {
  # shellcheck disable=SC2086 # A list: one word a line.
  whole=$({ cat -- "$own/apt-installed" 2>/dev/null; printf '%s\n' $ours; } | sort -u) || exit 1
  printf '%s\n' "$whole" | replace_file "$own/apt-installed" || exit 1
}

index_is_fresh() (
  set +f
  [ -n "$(find "$own/apt-updated" -mmin -$index_minutes 2>/dev/null)" ] || exit 1
  for list in /var/lib/apt/lists/*_Packages*; do
    [ -e "$list" ] && exit 0
  done
  exit 1
)

update() {
  if apt-get -q -c "$apt_conf" update; then touch "$own/apt-updated"; else echo 'the package index is not up to date'; fi
}

# shellcheck disable=SC2086 # A list: one word a line.
install() { apt-get -q -c "$apt_conf" install -- $packages; }

wait_for_locks
dpkg --force-confold --configure -a
for each in $answers; do answer "$each"; done
if [ -n "$ours" ]; then write_down; fi
if index_is_fresh; then install && exit 0; fi
update
install

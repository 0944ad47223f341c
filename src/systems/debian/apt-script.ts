/** How long others may hold the locks of dpkg and apt before we give up; unattended-upgrades takes minutes. */
const lockSeconds = 300

/** A package index older than this is fetched anew before something is installed from it. */
const indexMinutes = 24 * 60

/**
 * The transaction itself. apt waits for dpkg's lock (DPkg::Lock::Timeout); for the lists and for
 * `dpkg --configure -a` we look at /proc/locks, which names a file by a number that files of other disks have too: the
 * process named there must have this very file open. What we install is written down before it is installed:
 * the activation removes what is written there and no longer wanted.
 */
const transaction = `
umask 022
conf=$1 answers=$2
shift 2
trap 'rm -f -- "$conf"' EXIT
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
own=/var/lib/hydra-ops
mkdir -p "$own" || exit 1

has_open() {
  for fd in /proc/"$1"/fd/*; do
    if [ "$fd" -ef "$2" ]; then return 0; fi
  done
  return 1
}
holder() {
  inode=$(stat -c %i -- "$1" 2>/dev/null) || return 1
  for pid in $(awk -v end=":$inode" '{ n = length($6) - length(end) + 1 } n > 0 && substr($6, n) == end { print $5 }' /proc/locks); do
    if has_open "$pid" "$1"; then return 0; fi
  done
  return 1
}
wait_for_locks() {
  left=${lockSeconds}
  for lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
    while holder "$lock"; do
      if [ $left -le 0 ]; then echo "E: $lock has been held by process $pid for ${lockSeconds} s"; exit 1; fi
      if [ $((left % 10)) -eq 0 ]; then echo "waiting for $lock, held by process $pid"; fi
      sleep 1
      left=$((left - 1))
    done
  done
}
write_down() {
  { cat -- "$own/apt-installed" 2>/dev/null; printf '%s\\n' "$@"; } | sort -u > "$own/apt-installed.new" || exit 1
  sync "$own/apt-installed.new"
  mv -f -- "$own/apt-installed.new" "$own/apt-installed" || exit 1
}
answer() {
  package=\${1%% *} rest=\${1#* }
  question=\${rest%% *}
  if debconf-show "$package" 2>/dev/null | grep -qF "* $question:"; then return; fi
  printf '%s\\n' "$1" | debconf-set-selections || { echo "E: debconf does not take the answer to $question"; exit 1; }
}
index_is_fresh() {
  [ -n "$(find "$own/apt-updated" -mmin -${indexMinutes} 2>/dev/null)" ] || return 1
  for list in /var/lib/apt/lists/*_Packages*; do [ -e "$list" ] && return 0; done
  return 1
}
update() {
  if apt-get -q -c "$conf" update; then touch "$own/apt-updated"; else echo 'the package index is not up to date'; fi
}
install() { apt-get -q -c "$conf" install -- "$@"; }

wait_for_locks
dpkg --force-confold --configure -a
while [ "$answers" -gt 0 ]; do answer "$1"; shift; answers=$((answers - 1)); done
count=$1
shift
taken=0
while [ $taken -lt "$count" ]; do write_down "$1"; shift; taken=$((taken + 1)); done
if index_is_fresh; then install "$@" && exit 0; fi
update
install "$@"
`

/**
 * Runs the transaction in a session of its own with its output in a file, so that it neither dies with the
 * connection nor of a broken pipe. Standard input: apt's configuration. Arguments: how many answers for debconf
 * follow, those answers, how many names follow that are to be written down, those names, then what is to be installed.
 */
export const aptScript = `
umask 077
mkdir -p /run/hydra-ops || exit 1
conf=$(mktemp /run/hydra-ops/apt.XXXXXX) && log=$(mktemp /run/hydra-ops/apt-log.XXXXXX) || exit 1
cat > "$conf" || exit 1
setsid sh -c '${transaction.replaceAll("'", `'\\''`)}' sh "$conf" "$@" > "$log" 2>&1 < /dev/null &
pid=$!
tail -n +1 -s 0.2 --pid=$pid -f -- "$log"
wait $pid
status=$?
rm -f -- "$log"
exit $status
`

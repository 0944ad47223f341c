# shellcheck shell=sh
# Functions for the scripts of several tasks.

# Prints the system that this machine builds for.
own_system() {
  system=$(nix-instantiate --eval -E builtins.currentSystem 2>/dev/null | tr -d '"')
  printf '%s\n' "${system:-$(uname -m)-linux}"
}

# Prints the settings of Nix, one per line. Newer versions of Nix use another name for the command.
settings_of_nix() {
  nix --extra-experimental-features nix-command show-config 2>/dev/null ||
    nix --extra-experimental-features nix-command config show 2>/dev/null
}

# Prints the systems that Nix builds for on this machine, one per line: its own, and those that binfmt emulates.
systems_of_nix() {
  settings_of_nix | {
    IFS=' ' own='' emulated=''
    while read -r name _ values; do
      case $name in
        system) own=$values ;;
        extra-platforms) emulated=$values ;;
      esac
    done
    # shellcheck disable=SC2086 # A list: words.
    [ -z "$own" ] || printf '%s\n' "$own" $emulated
  }
}

# Prints the inode, size and times of files, and nothing for a missing file.
file_states() { stat -L -c '%i %s %Y %Z %n' -- "$@" 2>/dev/null; }

# Reads the record of an earlier start of Nix. Fails if a file that affects the start has changed since then. File $1
# is the record that nix/record.sh writes: assignments of nix_version, nix_files, nix_states and nix_systems. The last
# variable has a line for each system that Nix builds for, and is absent from an older record.
read_nix_record() {
  [ -r "$1" ] || return 1
  nix_version='' nix_files='' nix_states='' nix_systems=''
  # shellcheck disable=SC1090 # Our own record.
  . "$1"
  [ -n "$nix_version" ] && [ -n "$nix_states" ] || return 1
  (
    split_by_line
    # shellcheck disable=SC2086 # A line is a path.
    [ "$(file_states $nix_files)" = "$nix_states" ]
  )
}

recorded_version() { read_nix_record "$1" && printf '%s\n' "$nix_version"; }
recorded_systems() { read_nix_record "$1" && printf '%s\n' "$nix_systems"; }

# Path of the psql program of the newest PostgreSQL. Debian's `psql` is a Perl wrapper, which takes longer than most
# queries.
psql=psql
for found in /usr/lib/postgresql/*/bin/psql; do
  [ ! -x "$found" ] || psql=$found
done

# Runs psql as user $1 with the other arguments. Returns 124, as timeout(1) does, after a minute without an answer,
# because a hanging server still accepts connections.
run_psql() {
  psql_user=$1
  shift
  runuser -u "$psql_user" -- timeout 60 "$psql" -X "$@" < /dev/null || {
    psql_status=$?
    [ "$psql_status" != 124 ] || echo 'PostgreSQL did not answer within 60 s' >&2
    return "$psql_status"
  }
}

# Queries the database of Hydra as the user and the role that own it.
hydra_sql() { run_psql "${hydra_user:?}" -U "${role:?}" -p "${database_port:?}" -d "${database:?}" -Atc "$1"; }

# Prints the first line of psql's output $1 that is not a warning.
fault_of_psql() { printf '%s\n' "$1" | grep -vE '^(WARNING|DETAIL|HINT):' | head -n 1 | tr -s ' '; }

# Prints `unread=` for a query to Hydra's database that failed with status $1 and output $2. The reason is empty if
# condition $3 holds there. Messages depend on the server's language, so only its catalogue can show missing tables.
say_unread() {
  fault=$(fault_of_psql "$2")
  if [ "$1" != 124 ] && [ "$(hydra_sql "select $3" 2> /dev/null)" = t ]; then fault=; fi
  say unread "$fault"
}

# Runs the command in the value `command` (one record for each word) as Hydra's user. The command reads standard
# input.
as_hydra_user() {
  set --
  while IFS= read -r word; do
    decode word
    set -- "$@" "$word"
  done <<END
${command:?}
END
  runuser -u "${hydra_user:?}" -- "$@"
}

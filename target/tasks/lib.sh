# shellcheck shell=sh
# Functions for the scripts of several tasks.

# Prints the system that this machine builds for.
own_system() {
  system=$(nix-instantiate --eval -E builtins.currentSystem 2>/dev/null | tr -d '"')
  printf '%s\n' "${system:-$(uname -m)-linux}"
}

# Path of the newest PostgreSQL's own psql. Debian's `psql` is a wrapper in Perl, which is slower than most questions.
psql=psql
for found in /usr/lib/postgresql/*/bin/psql; do
  [ ! -x "$found" ] || psql=$found
done

# Asks the database of Hydra as the user and the role that own it.
hydra_sql() {
  runuser -u "${hydra_user:?}" -- \
    "$psql" -X -U "${role:?}" -p "${database_port:?}" -d "${database:?}" -Atc "$1" < /dev/null
}

# Runs a program with the value command (records of one word) as the user of Hydra. The program reads standard input.
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

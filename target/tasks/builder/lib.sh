# shellcheck shell=sh
# Functions for the scripts about the account for builds.

# Prints the home of user $1.
home_of() { getent passwd -- "$1" | cut -d: -f6; }

# Tells whether an account is locked. useradd creates locked accounts. A machine without shadow(5) shows the lock in
# passwd(5).
is_locked() {
  case $({ getent shadow -- "$1" || getent passwd -- "$1"; } | cut -d: -f2) in
    '!'*) true ;;
    *) false ;;
  esac
}

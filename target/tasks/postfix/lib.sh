# shellcheck shell=sh
# Functions for the scripts that set up postfix.

# Prints `mydestination` of the machine: its own names, so that mail to others, be they of the same domain, goes out. The
# name in /etc/mailname is one of them where it is this machine's.
wanted_destinations() {
  node=$(uname -n) mailname=$(head -n 1 /etc/mailname 2>/dev/null)
  # shellcheck disable=SC2016 # postfix is to fill in both.
  own='$myhostname' localhost='localhost.$mydomain'
  list=$own
  case $mailname in "$node" | "${node%%.*}".*) ;; *) mailname='' ;; esac
  for each in "$node" "$mailname" "$localhost" localhost; do
    case ", $list," in *", $each,"*) ;; *) [ -z "$each" ] || list="$list, $each" ;; esac
  done
  printf '%s' "$list"
}

# Does main.cf have the line that says whose settings these are?
is_marked() { grep -qxF -e "$1" /etc/postfix/main.cf; }

# shellcheck shell=sh
# Functions for the scripts that set up postfix.

# Prints `mydestination` of the machine. The list contains only names of the machine, so mail to other hosts of the
# domain is sent out. The name in /etc/mailname is included if it names this machine.
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

# Tells whether main.cf has the line that marks the settings as those of hydra-ops.
is_marked() { grep -qxF -e "$1" /etc/postfix/main.cf; }

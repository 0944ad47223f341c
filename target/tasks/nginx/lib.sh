# shellcheck shell=sh
# Functions for the scripts that set up nginx.

# Prints whether Debian's default site is `absent`, as it was `shipped`, or `changed`. dpkg(1) keeps the MD5 of each
# configuration file of the package.
default_state() {
  if [ ! -e /etc/nginx/sites-enabled/default ]; then
    echo absent
    return
  fi
  # shellcheck disable=SC2016 # dpkg-query is to fill it in.
  shipped=$(dpkg-query -W -f='${Conffiles}\n' 'nginx*' 2>/dev/null | sed -n 's|^ /etc/nginx/sites-available/default ||p' | head -n 1 | cut -d' ' -f1)
  if [ "$(md5sum < /etc/nginx/sites-enabled/default | cut -d' ' -f1)" = "$shipped" ]; then echo shipped; else echo changed; fi
}

# Prints the address that the machine uses to reach another address. A route lookup sends no packet.
main_address() {
  route=$(ip -o "$1" route get "$2" 2> /dev/null)
  case $route in
    *' src '*)
      route=${route#* src }
      printf '%s\n' "${route%% *}"
      ;;
  esac
}

# Joins lines with spaces. The function changes how words are split, so it runs in a subshell: `$(one_line …)`.
one_line() {
  split_by_line
  # shellcheck disable=SC2086 # A list: one word a line.
  set -- $1
  IFS=' '
  printf '%s' "$*"
}

# Prints conflicts of other sites with Hydra's site, whose path is $1. The function uses the values `ports`, `names`
# and `conflicts_program` of the script, and prints four kinds of lines.
# `refused=WORDS`: nginx rejects its whole configuration, so its sites are unknown.
# `conflict=NAME FILE`: two sites have the name at an address of Hydra's site. nginx uses the first site that it reads,
# prints a warning, and names no file. The function names the files with that name and port. An included file can hide
# the port, and then all files with that name are named.
# `address=ADDRESS:PORT FILE`: another site listens at the main address of the machine. nginx ignores sites at this
# address that listen on all addresses. `elsewhere=` means the same for any other address.
conflicts() {
  command -v nginx > /dev/null || return 0
  all=$(nginx -T -q 2>&1) || {
    printf '%s\n' "$all" | sed -n 's/^.*\[emerg\] \([0-9#]*: \)\{0,1\}/refused=/p' | head -n 1 | grep . ||
      say refused 'nginx -T fails'
    return 0
  }
  found=$(conflicts_of "$1" '')
  # The main addresses matter only if another site listens at a single address.
  case $found in
    *elsewhere=*) found=$(conflicts_of "$1" "$(main_address -4 192.0.2.1) [$(main_address -6 2001:db8::1)]") ;;
  esac
  [ -z "$found" ] || printf '%s\n' "$found" | sort -u
}
# Prints the conflicts of other sites with the site $1, given the main addresses $2 of the machine.
conflicts_of() {
  printf '%s\n' "$all" |
    awk -v own="$1" -v ports="$(one_line "${ports:?}")" -v mains="$2" -v names="$(one_line "${names:?}")" \
      "${conflicts_program:?}"
}

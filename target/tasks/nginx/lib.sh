# shellcheck shell=sh
# Functions for the scripts that set up nginx.

# Prints whether Debian's default site is `absent`, as it was `shipped`, or `changed`. dpkg(1) keeps the MD5 of each
# configuration file as the package brought it.
default_state() {
  if [ ! -e /etc/nginx/sites-enabled/default ]; then
    echo absent
    return
  fi
  # shellcheck disable=SC2016 # dpkg-query is to fill it in.
  shipped=$(dpkg-query -W -f='${Conffiles}\n' 'nginx*' 2>/dev/null | sed -n 's|^ /etc/nginx/sites-available/default ||p' | head -n 1 | cut -d' ' -f1)
  if [ "$(md5sum < /etc/nginx/sites-enabled/default | cut -d' ' -f1)" = "$shipped" ]; then echo shipped; else echo changed; fi
}

# Prints the address by which the machine reaches another one. A route is looked up, and nothing is sent.
main_address() { ip -o "$1" route get "$2" 2> /dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p'; }

one_line() { printf '%s' "$1" | tr '\n' ' '; }

# Prints what other sites take from ours, whose path is $1, with the values `ports`, `names` and `conflicts_program` of
# the script. There are four kinds of lines.
# `refused=WORDS`: nginx refuses its configuration as a whole, so that nothing is known of its sites.
# `conflict=NAME FILE`: nginx ignores the name at one of two sites where ours listens. nginx takes the site that it reads
# first, calls that a warning, and names no file. The files with that name and that port are named; where included files
# hide these, all with that name are.
# `address=ADDRESS:PORT FILE`: another site listens at the address by which the machine is reached, so nginx asks no site
# there that listens everywhere. `elsewhere=` is the same for any other address.
conflicts() {
  mains="$(main_address -4 192.0.2.1) [$(main_address -6 2001:db8::1)]"
  command -v nginx > /dev/null || return 0
  all=$(nginx -T -q 2>&1) || {
    printf '%s\n' "$all" | sed -n 's/^.*\[emerg\] \([0-9#]*: \)\{0,1\}/refused=/p' | head -n 1 | grep . ||
      say refused 'nginx -T fails'
    return 0
  }
  printf '%s\n' "$all" |
    awk -v own="$1" -v ports="$(one_line "${ports:?}")" -v mains="$mains" -v names="$(one_line "${names:?}")" \
      "${conflicts_program:?}" | sort -u
}

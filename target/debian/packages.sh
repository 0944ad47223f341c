# shellcheck shell=sh
# Lists the installed packages that have, or provide, one of the given names.
# Values: wanted (the names, separated by spaces), program (for awk).
# Prints `STATE|NAME|VERSION|PROVIDES` for each, in the format of dpkg-query. Other packages may be printed too.
#
# dpkg keeps all packages in one file, and recent changes in a folder until it merges them. dpkg-query reads both, but
# takes three times as long as awk, and its list of all packages is long.
: "${wanted:?}" "${program:?}"
whole=yes
for update in /var/lib/dpkg/updates/[0-9]*; do
  [ ! -e "$update" ] || whole=no
done
if [ "$whole" = yes ] && [ -r /var/lib/dpkg/status ]; then
  exec awk -v wanted="$wanted" "$program" /var/lib/dpkg/status
fi
# shellcheck disable=SC2016 # dpkg-query is to fill it in.
exec dpkg-query -W -f '${db:Status-Abbrev}|${Package}|${Version}|${Provides}\n'

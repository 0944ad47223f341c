# shellcheck shell=sh
# Looks at the list of this machine's builders.
# The environment of a running queue runner names its lists.
# Values:
#   list          path of the list
#   ssh_settings  path of the settings of ssh
#   drained       folder with a file for each builder that gets no new builds
#   gateway       path of a file that exists only for a queue runner to which builders connect
#   directory     folder of the key for logins
#   other         paths for the other program that could read a list: its list, and the folder of its key
# Prints:
#   hash=     the hash of each file, or `-` for a missing file
#   drained=  a builder that gets no new builds
#   automatic= a builder that gets new builds again once it is back
#   gateway=  yes or no
#   traces=   yes, if the folder of the key or of the marks exists; otherwise no
#   unread=   yes, if the queue runner does not read the list
#   other=    a path for the other program that exists
: "${list:?}" "${ssh_settings:?}" "${drained:?}" "${gateway:?}" "${directory:?}" "${other:?}"
hashes_of "$list" "$ssh_settings" | while read -r hash; do say hash "$hash"; done
for each in "$drained"/*; do
  [ -f "$each" ] || continue
  say drained "${each##*/}"
  if [ -s "$each" ]; then say automatic "${each##*/}"; fi
done
if [ -e "$gateway" ]; then say gateway yes; else say gateway no; fi
if [ -e "$directory" ] || [ -e "$drained" ]; then say traces yes; else say traces no; fi
environment=$(systemctl show --property=Environment --value hydra-queue-runner.service 2>/dev/null)
case $list:$environment in
  /etc/nix/*:* | *:) ;;
  *:*"$list"*) ;;
  *) say unread yes ;;
esac
split_by_line
for each in $other; do
  if [ -e "$each" ]; then say other "$each"; fi
done

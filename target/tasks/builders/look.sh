# shellcheck shell=sh
# Looks at the list of this machine's builders.
# Values: list and ssh_settings (paths), drained (folder with a file for each builder that gets no new builds), gateway
# (path of a file that only a queue runner to which builders connect has).
# For a queue runner that runs, its environment names the lists.
# Prints `hash=` of both files (`-` where one is missing), `drained=` for each such builder, `gateway=` (yes or
# no), and `unread=yes` where the queue runner does not read the list.
: "${list:?}" "${ssh_settings:?}" "${drained:?}" "${gateway:?}"
say hash "$(hash_of "$list")"
say hash "$(hash_of "$ssh_settings")"
for each in "$drained"/*; do
  [ ! -f "$each" ] || say drained "${each##*/}"
done
if [ -e "$gateway" ]; then say gateway yes; else say gateway no; fi
environment=$(systemctl show --property=Environment --value hydra-queue-runner.service 2>/dev/null)
case $list:$environment in
  /etc/nix/*:* | *:) ;;
  *:*"$list"*) ;;
  *) say unread yes ;;
esac

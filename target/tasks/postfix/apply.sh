# shellcheck shell=sh
# Makes postfix accept mail only from this machine.
# Values: mark (the line of main.cf that marks the settings as those of hydra-ops), host_name (empty if unchanged).
#
# postfix reads `inet_interfaces` only at its start: postconf(5).
: "${mark:?}" "${host_name?}"
cd /etc/postfix || exit 1
note_due postfix-restart || exit 1
step 'the restart is noted'
if ! is_marked "$mark"; then
  cp -p main.cf main.cf.hydra-ops || exit 1
  step 'main.cf is copied'
  printf '%s\n' "$mark" >> main.cf.hydra-ops || exit 1
  mv -f main.cf.hydra-ops main.cf || exit 1
  step 'main.cf says whose settings these are'
fi
postconf -e 'inet_interfaces = loopback-only' "mydestination = $(wanted_destinations)" || exit 1
step 'it listens for this machine alone'
[ -z "$host_name" ] || postconf -e "myhostname = $host_name" || exit 1
step 'it has its name'
sync main.cf
enable_unit postfix.service || exit 1
step 'it starts at boot'
if [ "$(systemctl is-active postfix@-.service)" != active ] && postfix status > /dev/null 2>&1; then
  postfix stop || exit 1
  step 'one that was started by hand is stopped'
fi
systemctl restart postfix.service || exit 1
step 'it is restarted'
forget_due postfix-restart || exit 1
step 'the restart is forgotten'

# shellcheck shell=sh
# Looks at the mail server of the machine.
# Values: mark (the line of main.cf that marks the settings as those of hydra-ops).
# Prints without postfix `other=`, the package or program that sends the machine's mail, or nothing. Prints with
# postfix `postfix=yes`; only `config=absent` without main.cf; and with main.cf `relayhost=`, `interfaces=`,
# `mark=yes`, `destinations=`, `hostname=`, `wanted=` (the wanted destinations), `running=yes`, `enabled=`,
# `restart=due`, and `open=`, an address at which other hosts reach port 25.
#
# postfix.service of Debian 12 stays active when postfix itself fails. `postfix status` checks the master process.
: "${mark:?}"
command -v postconf > /dev/null || {
  [ -e /usr/sbin/sendmail ] || exit 0
  owner=$(dpkg-query -S "$(readlink -f /usr/sbin/sendmail)" 2>/dev/null | head -n 1)
  owner=${owner%%:*}
  say other "${owner:-/usr/sbin/sendmail}"
  exit 0
}
say postfix yes
[ -f /etc/postfix/main.cf ] || {
  say config absent
  exit 0
}
relayhost=$(postconf -xh relayhost) || exit 1
interfaces=$(postconf -xh inet_interfaces) || exit 1
say relayhost "$relayhost"
say interfaces "$interfaces"
if is_marked "$mark"; then say mark yes; fi
say destinations "$(postconf -h mydestination)"
say hostname "$(postconf -xh myhostname)"
say wanted "$(wanted_destinations)"
if postfix status > /dev/null 2>&1; then say running yes; fi
say enabled "$(systemctl is-enabled postfix.service 2>/dev/null)"
if is_due postfix-restart; then say restart due; fi
say open "$(ss -Hltn 'sport = :25' | awk '{ print $4 }' | grep -v -e '^127\.' -e '^\[::1\]:' | head -n 1)"
exit 0

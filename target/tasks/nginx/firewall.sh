# shellcheck shell=sh
# Opens ports in the active firewall.
# Values: ports (numbers).
# Prints a sentence if nothing is opened.
#
# The rules of plain nftables must not be extended, because its file belongs to the user.
: "${ports:?}"
split_by_line
open=no
if command -v ufw > /dev/null && ufw status | grep -q '^Status: active'; then
  for port in $ports; do
    ufw allow "$port/tcp" || exit 1
    step "ufw lets in port $port"
  done
  open=yes
fi
if [ "$(systemctl is-active firewalld.service 2>/dev/null)" = active ]; then
  for port in $ports; do
    firewall-cmd --quiet --permanent --add-port="$port/tcp" || exit 1
    step "firewalld will let in port $port"
    firewall-cmd --quiet --add-port="$port/tcp" || exit 1
    step "firewalld lets in port $port"
  done
  open=yes
fi
[ "$open" = no ] || exit 0
if [ "$(systemctl is-active nftables.service 2>/dev/null)" = active ]; then
  echo "nftables is active, but hydra-ops does not change its rules; open these ports yourself: $(printf '%s' "$ports" | tr '\n' ' ')"
else
  echo 'no firewall is active, so hydra-ops opened no port'
fi

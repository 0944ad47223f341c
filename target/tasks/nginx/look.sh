# shellcheck shell=sh
# Looks at nginx and at the site of Hydra.
# Values: site (path of the site), link (that enables it), drop_in (path of the drop-in that lets systemd restart
# nginx), own_folder (of certificates that hydra-ops creates), name (of the certificate), ports and names (of the
# site), conflicts_program (for awk).
# Prints the lines of `conflicts` (lib.sh), then `site=` and `restart=` (hash of the site and of the drop-in, `-` for
# a missing file), `link=yes`, `default=` (absent, shipped, changed), `active=` and `enabled=` in the words of
# systemd, `reload=` (due, no), `ipv6=yes`, and `own=yes` and `acme=yes` if such a certificate exists.
: "${site:?}" "${link:?}" "${drop_in:?}" "${own_folder:?}" "${name:?}" "${ports:?}" "${names:?}" "${conflicts_program:?}"
conflicts "$link"
hashes_of "$site" "$drop_in" | {
  read -r hash
  say site "$hash"
  read -r hash
  say restart "$hash"
}
[ "$(readlink "$link" 2>/dev/null)" != "$site" ] || say link yes
say default "$(default_state)"
say active "$(systemctl is-active nginx.service 2>/dev/null)"
say enabled "$(systemctl is-enabled nginx.service 2>/dev/null)"
if is_due nginx-reload; then say reload due; else say reload no; fi
if [ -e /proc/net/if_inet6 ]; then say ipv6 yes; fi
if [ -s "$own_folder/$name.pem" ] && [ -s "$own_folder/$name.key" ]; then say own yes; fi
if [ -s "/etc/letsencrypt/live/$name/fullchain.pem" ]; then say acme yes; fi
exit 0

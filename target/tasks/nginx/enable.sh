# shellcheck shell=sh
# Enables Hydra's site. Restores everything if the site breaks nginx's configuration or conflicts with another site.
# Values: staged (path of the new file), site (path of the site's file), link (path in sites-enabled), ports, names,
# conflicts_program (for awk).
# Exit status 3: the configuration was already broken, and is not changed. Exit status 4: the new site breaks the
# configuration; the old site is restored. Exit status 5: another site has one of the new site's names; the old site is
# restored. The output then has a line `NAME FILE` for each conflict.
#
# The remains of a crash must not count as a fault of other sites. The other sites are therefore tested without
# Hydra's site.
: "${staged:?}" "${site:?}" "${link:?}" "${ports:?}" "${names:?}" "${conflicts_program:?}"
default=/etc/nginx/sites-enabled/default
test_all() { nginx -t -q; }
note_due nginx-reload || exit 1
step 'the reload is noted'
before=
if [ -L "$link" ]; then
  before=$(readlink "$link")
  rm -f -- "$link" || exit 1
  step 'the site is disabled'
fi
put_back() { [ -z "$before" ] || ln -sfn -- "$before" "$link"; }
test_all || {
  put_back
  rm -f -- "$staged"
  exit 3
}
rm -f -- "$site.before"
[ ! -e "$site" ] || cp -p -- "$site" "$site.before" || exit 1
step 'the old site is kept'
off=no
if [ "$(default_state)" = shipped ]; then
  off=$(readlink "$default")
  rm -f -- "$default" || exit 1
  step 'the default site is disabled'
fi
mv -fT -- "$staged" "$site" || exit 1
step 'the site is in place'
ln -sfn -- "$site" "$link" || exit 1
step 'the site is enabled'
undo() {
  if [ -e "$site.before" ]; then mv -fT -- "$site.before" "$site"; else rm -f -- "$site" "$link"; fi
  put_back
  [ "$off" = no ] || ln -sfn -- "${off:-/etc/nginx/sites-available/default}" "$default"
}
test_all || {
  undo
  exit 4
}
found=$(conflicts "$link" | sed -n 's/^conflict=//p')
if [ -n "$found" ]; then
  undo
  printf '%s\n' "$found"
  exit 5
fi
rm -f -- "$site.before"
step 'the old site is gone'
sync "$site"
systemctl daemon-reload || exit 1
step 'systemd has read its units'
enable_unit nginx.service || exit 1
step 'nginx starts at boot'
if [ "$(systemctl is-active nginx.service)" = active ]; then
  systemctl reload nginx.service || exit 1
else
  systemctl restart nginx.service || exit 1
fi
step 'nginx has read its configuration'
forget_due nginx-reload

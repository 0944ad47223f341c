# shellcheck shell=sh
# Lets Hydra read our configuration. Where somebody's own is, it is kept beside it.
# Values: home (of Hydra), config (path of our configuration).
: "${home:?}" "${config:?}"
if [ -e "$home/hydra.conf" ] && [ ! -L "$home/hydra.conf" ]; then
  mv --backup=numbered -T -- "$home/hydra.conf" "$home/hydra.conf.before-hydra-ops" || exit 1
  step 'the other configuration is kept'
  echo "$home/hydra.conf was somebody's own: it is now hydra.conf.before-hydra-ops"
fi
ln -sfn -- "$config" "$home/hydra.conf" || exit 1
step 'the link is there'

# shellcheck shell=sh
# Makes Hydra read the configuration of hydra-ops. An existing configuration of the user is kept under another name.
# Values: home (of Hydra), config (path of hydra-ops's configuration).
: "${home:?}" "${config:?}"
if [ -e "$home/hydra.conf" ] && [ ! -L "$home/hydra.conf" ]; then
  mv --backup=numbered -T -- "$home/hydra.conf" "$home/hydra.conf.before-hydra-ops" || exit 1
  step 'the other configuration is kept'
  echo "hydra-ops did not write the old $home/hydra.conf, and renamed it to hydra.conf.before-hydra-ops"
fi
ln -sfn -- "$config" "$home/hydra.conf" || exit 1
step 'the link is there'

# shellcheck shell=sh
# Lets Hydra read our configuration. A user's own configuration is kept beside ours.
# Values: home (of Hydra), config (path of our configuration).
: "${home:?}" "${config:?}"
if [ -e "$home/hydra.conf" ] && [ ! -L "$home/hydra.conf" ]; then
  mv --backup=numbered -T -- "$home/hydra.conf" "$home/hydra.conf.before-hydra-ops" || exit 1
  step 'the other configuration is kept'
  echo "hydra-ops did not write the old $home/hydra.conf, and renamed it to hydra.conf.before-hydra-ops"
fi
ln -sfn -- "$config" "$home/hydra.conf" || exit 1
step 'the link is there'

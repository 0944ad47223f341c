# shellcheck shell=sh
# Tells whether this machine's Nix reads the list of builders.
# Values: list (path of the list).
# Prints `reads=`: yes or no, or nothing if Nix does not tell its settings.
: "${list:?}"
settings=$(NIX_CONFIG='extra-experimental-features = nix-command' nix show-config 2> /dev/null |
  sed -n 's/^builders = /&/p')
case $settings in
  '') ;;
  *"@$list"*) say reads yes ;;
  *) say reads no ;;
esac

# shellcheck shell=sh
# Lets Nix read settings from a temporary folder, so that a wrong setting is found before it takes effect.
# Standard input: the settings.
# Exit status 127: Nix is missing.
command -v nix-store > /dev/null || exit 127
folder=$(mktemp -d) || exit 1
trap 'rm -rf -- "$folder"' EXIT
cat > "$folder/nix.conf" || exit 1
export NIX_CONF_DIR="$folder" NIX_USER_CONF_FILES='' NIX_CONFIG=''
NIX_STORE_DIR=$folder/store NIX_STATE_DIR=$folder/var NIX_LOG_DIR=$folder/log nix-store --version > /dev/null

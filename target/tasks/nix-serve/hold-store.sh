# shellcheck shell=sh
# Holds Nix's database open. An older Nix removes the files db.sqlite-wal and -shm with the last connection. A reader
# without the right to create these files then cannot read the database (measured with Nix 2.8).
#
# The script stays on the machine as a file, without the functions of any lib.sh. nix-store waits for a client on a
# pipe that this process itself keeps open, so no client ever comes.
: "${RUNTIME_DIRECTORY:?}"
pipe=$RUNTIME_DIRECTORY/no-client
rm -f -- "$pipe"
mkfifo -m 600 -- "$pipe" || exit 1
exec nix-store --serve <> "$pipe"

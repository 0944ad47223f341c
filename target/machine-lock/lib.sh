# shellcheck shell=sh
# Locks the folder of the machine's lock (flock, the kernel's) until the script ends. The script reads and replaces the
# file in it. Only one of several takers gets the file, and a killed taker leaves nothing behind.
lock_folder() { exec 9< "${1%/*}" && flock -w 30 9; }

# shellcheck shell=sh
# Locks the folder of the machine's lock with flock until the script ends. The script then reads and replaces the lock
# file in that folder. Only one of several takers gets the lock, and a killed taker leaves no flock behind.
lock_folder() { exec 9< "${1%/*}" && flock -w 30 9; }

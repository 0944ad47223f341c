# shellcheck shell=sh
# Locks the folder of the machine's lock (flock, the kernel's) until the script ends, while the file in it is looked at
# and replaced. Of any number of takers one gets the file, and a killed taker leaves nothing behind.
lock_folder() { exec 9< "${1%/*}" && flock -w 30 9; }

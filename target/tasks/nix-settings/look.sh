# shellcheck shell=sh
# Looks at a file of further settings of Nix, and at the other files of its task.
# Values: settings (path of the file), others (paths).
# Prints `settings=` (hash, `-` if the file is missing), one `other=` for each other file, and `restart=` (due, no).
: "${settings:?}" "${others?}"
split_by_line
say settings "$(hash_of "$settings")"
for each in $others; do say other "$(hash_of "$each")"; done
if is_due nix-daemon-restart; then say restart due; else say restart no; fi

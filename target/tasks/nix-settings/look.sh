# shellcheck shell=sh
# Looks at a file of further settings of Nix, and at the other files of its task.
# Values: settings (path of the file), others (paths).
# Prints `settings=` (hash, `-` if the file is missing), one `other=` for each other file, and `restart=` (due, no).
: "${settings:?}" "${others?}"
split_by_line
# shellcheck disable=SC2086 # A list: one word a line.
hashes_of "$settings" $others | {
  read -r hash
  say settings "$hash"
  while read -r hash; do say other "$hash"; done
}
if is_due nix-daemon-restart; then say restart due; else say restart no; fi

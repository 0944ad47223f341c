# shellcheck shell=sh
# Functions for every script of this folder. Before a script stand, in this order: its values, this file, and the lib.sh
# of the script's own folder. Nothing is passed by position, and no text is pasted into a script.

# Prints a fact: its name and its value.
say() { printf '%s=%s\n' "$1" "$2"; }

# Marks a point where a contract test may kill the script. Only these tests set steps_left; a real run has none.
step() {
  [ -n "${steps_left-}" ] || return 0
  printf 'step %s\n' "$1" >&2
  [ "$steps_left" -gt 0 ] || kill -KILL $$
  steps_left=$((steps_left - 1))
}

# Makes lists (values of one line an item) into words: `for each in $list` after it takes lines, and no line is a pattern.
# Fields that spaces separate need a `read` with an IFS of its own then.
split_by_line() {
  set -f
  IFS='
'
}

# Changes fields of a record from their coded form to the text itself: `decode path owner` after
# `while IFS=: read -r path owner mode`. Coded are a colon, a backslash and the end of a line.
decode() {
  for field_name do
    eval "field_text=\$$field_name"
    case $field_text in *\\*) field_text=$(printf '%b.' "$field_text") field_text=${field_text%.} ;; esac
    eval "$field_name=\$field_text"
  done
}

# Print the number of a user or group, given its name or number; nothing where there is none.
user_id() { case $1 in *[!0-9]*) id -u -- "$1" 2>/dev/null ;; *) printf %s "$1" ;; esac; }
group_id() { case $1 in *[!0-9]*) getent group -- "$1" | cut -d: -f3 ;; *) printf %s "$1" ;; esac; }

# Replaces file $1 by standard input: after a crash there is the old text or the whole new one.
replace_file() { cat > "$1.new" && sync "$1.new" && mv -fT -- "$1.new" "$1"; }

# Prints the hash of a file's content, `-` where it is missing.
hash_of() { if [ -f "$1" ]; then sha256sum < "$1" | cut -d' ' -f1; else echo -; fi; }

# Note that something is due, ask for it, and forget it. It is forgotten at a reboot too, which starts everything anew.
note_due() { mkdir -p /run/hydra-ops && : > "/run/hydra-ops/$1"; }
is_due() { [ -e "/run/hydra-ops/$1" ]; }
forget_due() { rm -f "/run/hydra-ops/$1"; }

# Enables a unit that is not enabled.
enable_unit() { [ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ] || systemctl --quiet --no-reload enable "$1"; }

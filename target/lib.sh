# shellcheck shell=sh
# Functions for every script in this folder. The text for a machine is the script's values, this file, the folder's
# lib.sh and the script, in this order. No value is positional, and no value is pasted into a script.

# Prints a fact: its name and its value.
say() { printf '%s=%s\n' "$1" "$2"; }

# Marks a point where a contract test may kill the script. Only these tests set steps_left.
step() {
  [ -n "${steps_left-}" ] || return 0
  printf 'step %s\n' "$1" >&2
  [ "$steps_left" -gt 0 ] || kill -KILL $$
  steps_left=$((steps_left - 1))
}

# Splits lists, which have one line for each item, into words. A later `for each in $list` iterates over lines, and no
# line is expanded as a pattern. Fields separated by spaces then need a `read` with its own IFS.
split_by_line() {
  set -f
  IFS='
'
}

# Decodes fields of a record in place. Example: `decode path owner` after `while IFS=: read -r path owner mode`.
# The coded characters are the colon, the backslash and the line feed.
decode() {
  for field_name do
    eval "field_text=\$$field_name"
    case $field_text in *\\*) field_text=$(printf '%b.' "$field_text") field_text=${field_text%.} ;; esac
    eval "$field_name=\$field_text"
  done
}

# Prints the number of a user or group, given its name or number; prints nothing if the user or group does not exist.
user_id() { case $1 in *[!0-9]*) id -u -- "$1" 2>/dev/null ;; *) printf %s "$1" ;; esac; }
group_id() {
  case $1 in
    *[!0-9]*)
      getent group -- "$1" | {
        IFS=: read -r _ _ group_number _
        printf %s "$group_number"
      }
      ;;
    *) printf %s "$1" ;;
  esac
}

# Replaces file $1 by standard input. A crash leaves either the old text or the complete new text.
replace_file() { cat > "$1.new" && sync "$1.new" && mv -fT -- "$1.new" "$1"; }

# Prints the hash of a file's content, or `-` if the file is missing.
hash_of() {
  if [ -f "$1" ]; then
    hash_line=$(sha256sum < "$1")
    printf '%s\n' "${hash_line%% *}"
  else
    echo -
  fi
}

# Prints a line for each file: the hash of its content, or `-` if the file is missing. One program reads all files.
hashes_of() {
  hash_lines="
$(sha256sum -- "$@" 2>/dev/null)
"
  for hash_path do
    case $hash_lines in
      *"  $hash_path
"*)
        hash_line=${hash_lines%%"  $hash_path
"*}
        printf '%s\n' "${hash_line##*
}"
        ;;
      # sha256sum writes some names in another form.
      *) hash_of "$hash_path" ;;
    esac
  done
}

# Sets, tests and clears a note that an action is due. A reboot clears the note too, because it restarts everything.
note_due() { mkdir -p /run/hydra-ops && : > "/run/hydra-ops/$1"; }
is_due() { [ -e "/run/hydra-ops/$1" ]; }
forget_due() { rm -f "/run/hydra-ops/$1"; }

# Enables a unit that is not enabled.
enable_unit() { [ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ] || systemctl --quiet --no-reload enable "$1"; }

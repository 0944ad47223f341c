# shellcheck shell=sh
# Records that Nix starts with its current files and settings, so that a look need not start Nix.
# Values: record (the file to write), settings (path of hydra-ops's settings).
: "${record:?}" "${settings:?}"
mkdir -p -- "${record%/*}" && rm -f -- "$record" || exit 1
step 'the old record of Nix is gone'
# Prints the include lines of a settings file.
includes_of() { sed -n 's/^[[:blank:]]*!\{0,1\}\(include[[:blank:]].*\)/\1/p' "$1" 2>/dev/null; }
add_file() { files="$files
${file_to_add:?}"; }
split_by_line
# Sets `files` and `states`. Each file affects the start of Nix, and a missing file must stay missing. Fails without
# Nix, and if only Nix itself can find all files.
look_at_files() {
  store=$(command -v nix-store) || return 1
  libraries=$(ldd "$store" 2>/dev/null) || return 1
  files="$store
/etc/ld.so.cache
/etc/nix/nix.conf
$settings
/etc/xdg/nix/nix.conf
${XDG_CONFIG_HOME:-${HOME:-}/.config}/nix/nix.conf"
  for library in $libraries; do
    # A line is `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
    file_to_add=/${library#*/}
    file_to_add=${file_to_add%% (*}
    case $library in */*) add_file ;; esac
  done
  for conf in /etc/nix/nix.conf "$settings"; do
    for line in $(includes_of "$conf"); do
      file_to_add=${line#include }
      case $file_to_add in
        # Such a line can be read reliably only by Nix itself.
        *[[:blank:]]* | '') return 1 ;;
        /*) ;;
        *) file_to_add=/etc/nix/$file_to_add ;;
      esac
      add_file
      [ "$file_to_add" = "$settings" ] || [ -z "$(includes_of "$file_to_add")" ] || return 1
    done
  done
  # A missing file has no state.
  # shellcheck disable=SC2086 # A list: one path a line.
  states=$(file_states $files) || :
}
look_at_files || exit 0
files_before=$files states_before=$states
version=$(version_of_nix) || exit 0
systems=$(systems_of_nix)
# An upgrade may have happened between the answers, which would then belong to different versions of Nix.
look_at_files && [ "$files" = "$files_before" ] && [ "$states" = "$states_before" ] || exit 0
# The record is shell text, in which a quote in a name would end a word.
case $files$systems in *\'*) exit 0 ;; esac
printf "nix_version='%s'\nnix_files='%s'\nnix_states='%s'\nnix_systems='%s'\n" "$version" "$files" "$states" "$systems" |
  replace_file "$record" || exit 1
step 'the start of Nix is recorded'

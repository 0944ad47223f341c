# shellcheck shell=sh
# Records that Nix starts with its present files and settings, so that a look need not start Nix.
# Values: record (the file to write), settings (path of our settings).
: "${record:?}" "${settings:?}"
mkdir -p -- "${record%/*}" && rm -f -- "$record" || exit 1
step 'the old record of Nix is gone'
version=$(version_of_nix) || exit 0
store=$(command -v nix-store) || exit 0
split_by_line
# Each of these files decides whether Nix starts; a file that is missing must stay missing. A record of an unusual name
# or of a Nix without shared libraries is not made.
set -- "$store" /etc/ld.so.cache /etc/nix/nix.conf "$settings" /etc/xdg/nix/nix.conf /root/.config/nix/nix.conf
for library in $(ldd "$store" 2>/dev/null); do
  library=${library#*=> }
  library=${library# }
  library=${library#"	"}
  library=${library%% (*}
  case $library in /*) set -- "$@" "$library" ;; esac
done
[ "$#" -gt 6 ] || exit 0
for conf in /etc/nix/nix.conf "$settings"; do
  [ -r "$conf" ] || continue
  while IFS= read -r line || [ -n "$line" ]; do
    line=${line#!}
    case $line in
      include' '/*) set -- "$@" "${line#include }" ;;
      include' '*) set -- "$@" "/etc/nix/${line#include }" ;;
    esac
  done < "$conf"
done
case $* in *\'*) exit 0 ;; esac
{
  printf "nix_version='%s'\nnix_files='" "$version"
  printf '%s\n' "$@"
  printf "'\nnix_states='%s'\n" "$(file_states "$@")"
} | replace_file "$record" || exit 1
step 'the start of Nix is recorded'

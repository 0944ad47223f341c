# shellcheck shell=sh
# Looks at the emulators that the kernel knows.
# Values: registered (folder with a file for each emulator), emulators (their names).
# Prints `absent=`, `disabled=` and `loose=` (opened only at the start of a program, so not inside a sandbox) for faulty
# ones, `system=` (of this machine), and `platforms=` (for which Nix builds too), unless Nix shows no settings.
: "${registered:?}" "${emulators?}"
split_by_line
for each in $emulators; do
  entry=$(cat -- "$registered/$each" 2>/dev/null)
  case $entry in
    '') say absent "$each" ;;
    enabled*) printf '%s\n' "$entry" | grep -q '^flags:.*F' || say loose "$each" ;;
    *) say disabled "$each" ;;
  esac
done
settings=$(settings_of_nix)
say system "$(printf '%s\n' "$settings" | sed -n 's/^system = //p')"
[ -z "$settings" ] || say platforms "$(printf '%s\n' "$settings" | sed -n 's/^extra-platforms = //p')"

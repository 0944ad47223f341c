# shellcheck shell=sh
# Looks at the emulators that are registered with the kernel.
# Values: registered (folder with a file for each emulator), emulators (their names).
# Prints `absent=`, `disabled=` and `loose=` (opened only when a program starts, so missing in a sandbox) for faulty
# emulators, `system=` (of this machine), and `platforms=` (for which Nix builds too), unless Nix shows no settings.
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

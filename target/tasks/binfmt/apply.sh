# shellcheck shell=sh
# Registers emulators with the kernel, as their packages describe them.
# Values: registered (folder with a file for each emulator), emulators (their names).
: "${registered:?}" "${emulators?}"
split_by_line
if command -v update-binfmts > /dev/null; then
  for each in $emulators; do
    # A disabled entry would otherwise stay disabled.
    update-binfmts --disable "$each" > /dev/null 2>&1
    step "$each has no old entry"
    update-binfmts --enable "$each" || exit 1
    step "$each is registered"
  done
else
  systemctl restart systemd-binfmt.service || exit 1
  step 'the emulators are registered'
fi
for each in $emulators; do
  [ -e "$registered/$each" ] || {
    echo "the kernel did not take $each" >&2
    exit 1
  }
done

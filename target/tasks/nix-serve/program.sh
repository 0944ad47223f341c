# shellcheck shell=sh
# Finds the program of a package that serves the store, and the program's kind.
# Values: package (path).
# Prints `kind=` (nix-serve, nix-serve-ng or harmonia; nothing if the package has none of these) and `name=`, its name
# in bin. Prints for harmonia also `keys=paths` if SIGN_KEY_PATHS names the keys, `notifies=yes` if harmonia notifies
# systemd, and `database=yes` if harmonia itself reads Nix's database.
#
# nix-serve is a Perl program. nix-serve-ng has the same file name, but is a compiled program that describes itself in
# one sentence. harmonia's server is harmonia-cache since version 3; `harmonia` is then a client. A program is started
# only if the sentence is missing. It would then be a newer nix-serve-ng, which lists --priority.
: "${package:?}"
cd / || exit 1
# Tells whether a program, or what its wrapper starts, contains a text.
contains() {
  for file in "$package/bin/$1" "$package/bin/.$1-wrapped"; do
    if [ -f "$file" ] && grep -qaF -- "$2" "$file"; then return 0; fi
  done
  return 1
}
lists_priority() {
  IFS= read -r beginning < "$package/bin/nix-serve"
  case $beginning in ?ELF*) ;; *) return 1 ;; esac
  runuser -u nobody -- env -i PATH=/usr/bin:/bin HOME=/nonexistent timeout 60 "$package/bin/nix-serve" --help < /dev/null 2> /dev/null | grep -qF -- --priority
}
if [ -x "$package/bin/nix-serve" ]; then
  say name nix-serve
  if contains nix-serve 'Serve the current Nix store as a binary cache' || lists_priority; then say kind nix-serve-ng; else say kind nix-serve; fi
  exit 0
fi
for name in harmonia-cache harmonia; do
  [ -x "$package/bin/$name" ] || continue
  say name "$name"
  say kind harmonia
  # Names of variables follow each other directly in the program, so any letter may follow "SIGN_KEY_PATH".
  if [ "$name" = harmonia-cache ] || contains "$name" 'Use SIGN_KEY_PATHS instead'; then say keys paths; fi
  if contains "$name" NOTIFY_SOCKET; then say notifies yes; fi
  if contains "$name" nix_db_path; then say database yes; fi
  exit 0
done
exit 0

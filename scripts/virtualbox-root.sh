#!/usr/bin/env bash
# Makes the folder in which the tests run the real VBoxManage: VirtualBox from Debian sid, without its kernel driver, in
# $HOME/.cache/hydra-ops-test/virtualbox/root. An existing folder of the same recipe (this file) stays. Needs no root; the
# packages are only unpacked, so no script of theirs runs. The last line of a failure is its reason.
set -euo pipefail

cache="$HOME/.cache/hydra-ops-test/virtualbox"
recipe=$(sha256sum <"${BASH_SOURCE[0]}")
if [ -e "$cache/root" ] && [ "$(cat "$cache/recipe" 2>/dev/null)" = "$recipe" ]; then exit 0; fi

# VBoxManage is a wrapper in shell, which asks ps, grep and awk; a front end of the tests is in Python. All else that it
# needs are dependencies.
packages=virtualbox,procps,mawk,grep,sed,coreutils,dash,libc-bin,base-files,python3-minimal

# Prints the mirror from the user, or else that of this host's own Debian, as apt reads its sources.
mirror() {
  [ -z "${DEBIAN_MIRROR:-}" ] || { printf '%s\n' "$DEBIAN_MIRROR" && return; }
  local codename
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  # shellcheck disable=SC2016 # apt expands it.
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Release: $codename" | head -n 1
}

# Prints the system as a tar archive. An archive of packages may have expired where the mirror is a snapshot.
archive() {
  mmdebstrap --mode=unshare --variant=extract --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$packages" sid - "deb $1 sid main contrib"
}

uri=$(mirror)
[ -n "$uri" ] || { echo 'the sources of apt name no mirror of Debian' >&2 && exit 1; }
mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
rm -rf "$cache/root" "$cache/new"
mkdir "$cache/new"
log="$cache/mmdebstrap.log"
# Large files that no test loads: 3D drivers with their compiler, and the web service.
unused=(--exclude='*/libLLVM*' --exclude='*/libgallium*' --exclude='*/libz3*' --exclude='*/vboxwebsrv' --exclude='*/webtest')
if ! archive "$uri" 2>"$log" |
  tar -C "$cache/new" --no-same-owner --exclude='./dev/*' "${unused[@]}" -xf - 2>"$cache/tar.log"; then
  # The errors of apt have the cause; those of mmdebstrap say that apt failed.
  tail -n 20 "$log" "$cache/tar.log" >&2
  reason=$(grep -h '^E: ' "$log" | grep -v '^E: \(apt-get\|mmdebstrap\) ' | head -n 1 || true)
  printf 'no Debian sid from %s: %s\n' "$uri" "${reason:-$(tail -n 1 "$log")}" >&2
  exit 1
fi
ln -s mawk "$cache/new/usr/bin/awk"
printf 'root:x:0:0:root:/root:/bin/sh\n' >"$cache/new/etc/passwd"
[ -x "$cache/new/usr/bin/VBoxManage" ] || { echo 'the package virtualbox has no VBoxManage' >&2 && exit 1; }
mv "$cache/new" "$cache/root"
printf '%s\n' "$recipe" >"$cache/recipe"

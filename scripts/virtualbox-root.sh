#!/usr/bin/env bash
# Creates the folder from which the tests run the real VBoxManage: VirtualBox from Debian sid, without its kernel
# driver. The folder is $HOME/.cache/hydra-ops-test/virtualbox/root; an existing folder of the same recipe (this
# file) stays. The script needs no root, because packages are only unpacked and none of their scripts runs. The last
# line of a failure is its reason.
set -euo pipefail

cache="$HOME/.cache/hydra-ops-test/virtualbox"
recipe=$(sha256sum <"${BASH_SOURCE[0]}")
if [ -e "$cache/root" ] && [ "$(cat "$cache/recipe" 2>/dev/null)" = "$recipe" ]; then exit 0; fi

# VBoxManage is a shell wrapper that calls ps, grep and awk. One of the tests' front ends is in Python. All other
# needed packages are dependencies.
packages=virtualbox,procps,mawk,grep,sed,coreutils,dash,libc-bin,base-files,python3-minimal

# Prints the user's mirror, or else the mirror of this host's own Debian from apt's sources.
mirror() {
  [ -z "${DEBIAN_MIRROR:-}" ] || { printf '%s\n' "$DEBIAN_MIRROR" && return; }
  local codename
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  # shellcheck disable=SC2016 # apt expands it.
  apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Component: main' "Release: $codename" | head -n 1
}

# Prints the system as a tar archive. The release file of a snapshot mirror may have expired.
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
  # apt's errors name the cause; mmdebstrap's errors only say that apt failed.
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

# shellcheck shell=bash
# Prepares the host for scripts/test and scripts/lab, which source this file.

lab_user=hydra-lab
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }

give_up() {
  printf 'error: %s\n' "$1" >&2
  shift
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

is_root() { [ "$(id -u)" = 0 ]; }

# Folders that are removed when the script ends or is interrupted.
short_lived=()
remove_short_lived() { [ ${#short_lived[@]} = 0 ] || rm -rf "${short_lived[@]}"; }
trap remove_short_lived EXIT

# Prints the missing Debian packages of the given groups (run, test, long), one on each line.
missing_packages() {
  local group package file
  while read -r group package file; do
    [[ " $* " == *" $group "* ]] || continue
    [ "$file" != - ] && [ -e "$file" ] && continue
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || printf '%s\n' "$package"
  done < <(sed 's/#.*//; /^[[:space:]]*$/d' "$checkout/scripts/packages")
}

package_lists_present() { compgen -G '/var/lib/apt/lists/*_Packages*' >/dev/null; }

ensure_packages() {
  command -v dpkg-query >/dev/null || give_up 'this script installs Debian packages, but this host is not Debian' \
    "install what scripts/packages lists by your own means, then run hydra-ops itself"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} = 0 ] && return
  if ! is_root; then
    local update=''
    package_lists_present || update='apt-get update && '
    give_up 'these Debian packages are missing; install them and run this again:' \
      "sudo sh -c '${update}apt-get install -y --no-install-recommends ${missing[*]}'"
  fi
  say "installing Debian packages: ${missing[*]}"
  install_packages "${missing[@]}"
}

install_packages() {
  local log status=0
  log=$(mktemp)
  if ! package_lists_present || ! apt_install "$@" >"$log" 2>&1; then
    { apt-get update && apt_install "$@"; } >"$log" 2>&1 </dev/null || status=$?
  fi
  [ "$status" = 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  [ "$status" = 0 ] || give_up "apt-get could not install: $*" 'check the package sources in /etc/apt/sources.list'
}

# Installs packages without starting their daemons. No test needs a system daemon, and the sshd of a test must not
# listen on public addresses.
apt_install() {
  local policy=/usr/sbin/policy-rc.d ours='' status=0
  if [ ! -e "$policy" ]; then
    ours=yes
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null || status=$?
  [ -z "$ours" ] || rm -f "$policy"
  return "$status"
}

ensure_node() {
  { command -v node && command -v npm; } >/dev/null ||
    give_up 'Node 20.11 or newer with npm is needed' 'https://nodejs.org/en/download'
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 11) ? 0 : 1)' ||
    give_up "Node 20.11 or newer is needed, this is $(node --version)"
}

# Installs node_modules from the lock file. No install script runs, because no module needs a compiler.
ensure_modules() {
  local stamp="$checkout/node_modules/.installed-from" wanted
  wanted=$(printf '%s %s\n' "$(node -p 'process.versions.modules + process.platform + process.arch')" \
    "$(sha256sum <"$checkout/package-lock.json")")
  [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && return
  say 'installing node modules (npm ci)'
  (cd "$checkout" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null) ||
    give_up 'npm ci failed' 'check the connection to the npm registry: npm ping'
  printf '%s\n' "$wanted" >"$stamp"
}

# Builds dist/ if it is older than its sources. `npm run build` is the default; the argument can name a script
# without the type check.
ensure_built() {
  local script=${1:-build}
  local cli="$checkout/dist/src/cli.js"
  [ -e "$cli" ] && [ -z "$(find "$checkout"/{src,providers,nix,state,package-lock.json,package.json,tsconfig.json,scripts/build.ts} -newer "$cli" -print -quit)" ] &&
    return
  say "building (npm run $script)"
  (cd "$checkout" && npm run --silent "$script") || return 1
  touch "$cli"
}

# Requires the file systems without which libvirt says "An error occurred, but the cause is unknown".
ensure_mounts() {
  local missing=()
  mountpoint -q /proc || missing+=('mount -t proc proc /proc')
  [ -e /sys/kernel ] || missing+=('mount -t sysfs sysfs /sys')
  [ -c /dev/pts/ptmx ] || missing+=('mount -t devpts devpts /dev/pts')
  [ ${#missing[@]} = 0 ] || give_up 'guests need /proc, /sys and /dev/pts; run as root:' "${missing[@]}"
}

# Creates the unprivileged user that does the work when the script runs as root. root has no libvirt session.
ensure_lab_user() {
  is_root || return 0
  id "$lab_user" >/dev/null 2>&1 && return
  say "creating the user $lab_user (no password, no privileges), who runs the guests"
  useradd --create-home --shell /bin/bash "$lab_user" || give_up "cannot create the user $lab_user"
}

home_of_worker() {
  if is_root; then getent passwd "$lab_user" | cut -d: -f6; else printf '%s\n' "$HOME"; fi
}

# Runs a command in a folder as the worker (as_worker HOME FOLDER COMMAND…). The worker is the lab user if the
# script runs as root, or else the current user. The environment is new, except for variables that access to a
# registry may need. Nix uses no binary cache.
as_worker() {
  local home=$1 folder=$2 kept=() name
  shift 2
  for name in CI TERM LANG NO_COLOR http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE \
    NODE_EXTRA_CA_CERTS HYDRA_OPS_CRASH_POINTS; do
    [ -n "${!name-}" ] && kept+=("$name=${!name}")
  done
  worker_path_found=${worker_path_found:-$(find_worker_path)}
  local clean=(env -i "HOME=$home" "PATH=$worker_path_found" 'NIX_CONFIG=substituters =' "${kept[@]}")
  if is_root; then
    (cd / && runuser -u "$lab_user" -- env -C "$folder" "${clean[@]}" "$@")
  else
    (cd "$folder" && "${clean[@]}" "$@")
  fi
}

# Computes the PATH without folders that the worker may not enter. Otherwise exec would fail with "permission
# denied" instead of "not found". The first folder holds the copy of node from ensure_worker_node.
find_worker_path() {
  # shellcheck disable=SC2016 # The worker's shell is to expand it.
  local look=(bash -c 'IFS=:; for folder in $1; do [ -x "$folder" ] && printf "%s:" "$folder"; done; echo /usr/sbin:/sbin' look)
  local path
  path="$(home_of_worker)/.cache/hydra-ops-node:$PATH"
  if is_root; then (cd / && runuser -u "$lab_user" -- "${look[@]}" "$path"); else "${look[@]}" "$path"; fi
}

# Copies node for the lab user if it lies in a home that the lab user cannot enter.
ensure_worker_node() {
  local node
  node=$(readlink -f "$(command -v node)")
  as_worker / / test -x "$node" && return
  local folder
  folder="$(home_of_worker)/.cache/hydra-ops-node"
  as_worker / / mkdir -p "$folder"
  cmp -s "$node" "$folder/node" || install -o "$lab_user" -m 755 "$node" "$folder/node"
  worker_path_found=''
}

ensure_user_namespaces() {
  as_worker / / unshare --user --map-root-user true 2>/dev/null || give_up \
    'user namespaces cannot be created, but the Nix store and the image need them; run as root:' \
    'sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=15000'
}

# Ensures everything that a worker needs. The arguments are groups of packages.
ensure_everything() {
  ensure_node
  ensure_packages "$@"
  ensure_mounts
  ensure_lab_user
  ensure_worker_node
  ensure_user_namespaces
  ensure_modules
}

# Chooses a home for tests and benchmarks, which must not touch the user's libvirt, Nix store and state. The home is
# kept because of its images. Its path is short, because the path of a socket has at most 107 characters.
choose_home() {
  home="$(home_of_worker)/.hydra-ops-test"
  if [ ${#home} -gt 38 ]; then
    home=$(mktemp -d /tmp/hydra-ops-test.XXXXXX)
    short_lived+=("$home")
    if is_root; then chown "$lab_user:" "$home"; fi
  fi
  as_worker / / mkdir -p -m 700 "$home"
}

# Sets `folder` to the checkout, or to a copy if the script runs as root. The lab user cannot read root's checkout.
give_worker_checkout() {
  folder=$checkout
  is_root || return 0
  folder="$home/checkout"
  say "root has no libvirt session, so the user $lab_user does the work on a copy in $folder"
  rm -rf "$folder"
  as_worker / / mkdir -p -m 700 "$folder"
  tar -C "$checkout" --exclude=./.git --exclude='./*.tgz' -cf - . |
    as_worker / / tar -C "$folder" --no-same-owner --no-same-permissions -xf - || give_up "cannot copy the checkout to $folder"
}

# Lists the pids of the daemons that libvirt started for a user, from their pid files.
session_daemons() {
  local folder=$1 file pid
  for file in "$folder"/{libvirtd,virtlogd,virtlockd}.pid; do
    pid=$(cat "$file" 2>/dev/null) || continue
    [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null && printf '%s\n' "$pid"
  done
  return 0
}

end_session_daemons() {
  local folder=$1 pid deadline=$((SECONDS + 20))
  for pid in $(session_daemons "$folder"); do kill "$pid"; done
  while [ -n "$(session_daemons "$folder")" ]; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.2
  done
}

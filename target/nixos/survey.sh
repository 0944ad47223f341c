# shellcheck shell=sh
# Reads all facts of a NixOS machine that a deploy needs, in one look that changes nothing.
# Values: owner_file (names the deployment that was activated last), runs (folder of activations), pending and awaits
# (files of `keep`), wanted (system that is to run; may be empty), report (true lists services that run old code,
# too).
# Prints boot_id, systems (ID and ID_LIKE of os-release), os, release, revision, owner, current, booted, profile,
# previous, generation (NUMBER PATH each), boot_default, part (NAME BOOTED CURRENT WANTED for each part that only a
# boot changes; a dash stands for a missing part), version and inhibitors (of the current system), wanted,
# wanted_version and wanted_inhibitors (if the machine has the wanted system), auto_update (last result of the
# automatic update, only for a report), owed (services that run old code), failed and restarted (units), leftover
# (lists of an interrupted switch), pending, awaits, armed (runs that wait to be confirmed), nix, trusted_users,
# free_kib and boot_free_kib.
: "${owner_file:?}" "${runs:?}" "${pending:?}" "${awaits:?}" "${wanted?}" "${report:?}"
say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
# shellcheck disable=SC1091 # The machine's own.
if [ -r /etc/os-release ]; then . /etc/os-release; fi
say systems "${ID:-} ${ID_LIKE:-}"
say os "${PRETTY_NAME:-unknown}"
say release "${VERSION_ID:-}"
say revision "${BUILD_ID:-}"
say owner "$(first_line "$owner_file")"
say current "$(place_of /run/current-system)"
say booted "$(place_of /run/booted-system)"
profiles=/nix/var/nix/profiles
say profile "$(place_of $profiles/system)"
say previous "$(place_of /nix/var/nix/gcroots/hydra-ops/previous)"
for link in "$profiles"/system-*-link; do
  [ -L "$link" ] || continue
  number=${link##*/system-}
  say generation "${number%-link} $(readlink -- "$link")"
done

say boot_default "$(boot_default)"

# Prints the version of a system, and the inhibitors of a switch from or to the system.
system_facts() {
  say "$2version" "$(first_line "$1/nixos-version")"
  say "$2inhibitors" "$(tr '\n' ' ' < "$1/switch-inhibitors" 2> /dev/null | head -c 10000)"
}
part_of() {
  found=$(place_of "$1")
  echo "${found:--}"
}
system_facts /run/current-system ''
if [ -n "$wanted" ] && [ -e "$wanted/bin/switch-to-configuration" ]; then
  say wanted "$wanted"
  system_facts "$wanted" wanted_
fi
for part in kernel initrd kernel-modules systemd; do
  next=-
  [ -z "$wanted" ] || next=$(part_of "$wanted/$part")
  say part "$part $(part_of "/run/booted-system/$part") $(part_of "/run/current-system/$part") $next"
done

systemctl list-units --failed --plain --no-legend --no-pager 2> /dev/null | while read -r unit _; do
  case $unit in hydra-ops-*) ;; *) say failed "$unit" ;; esac
done
systemctl show -p Id,NRestarts -- '*.service' 2> /dev/null | {
  id='' restarts=0
  tell() {
    case $id in '' | hydra-ops-*) ;; *) [ "$restarts" = 0 ] || say restarted "$id $restarts" ;; esac
    id='' restarts=0
  }
  while IFS= read -r line; do
    case $line in
      Id=*) id=${line#*=} ;;
      NRestarts=*) restarts=${line#*=} ;;
      '') tell ;;
    esac
  done
  tell
}

# A service runs old code if its program is in no package of the running system. Only root can check the services of
# other users.
if [ "$report" = true ]; then
  # The result file stays on a machine that no longer updates itself, so the timer is checked first.
  if [ -e /etc/systemd/system/hydra-ops-auto-update.timer ]; then
    say auto_update "$(head -n 1 /var/lib/hydra-ops/auto-update/result.json 2> /dev/null | head -c 10000)"
  fi
  closure=$(nix-store --query --requisites /run/current-system 2> /dev/null)
  systemctl show -p Id,MainPID -- '*.service' 2> /dev/null | {
    id='' pid=0
    tell_owed() {
      program=$(readlink "/proc/$pid/exe" 2> /dev/null)
      case $id:$program in
        hydra-ops-*) ;;
        *:/nix/store/*)
          package=${program#/nix/store/}
          package=/nix/store/${package%%/*}
          case $closure in '' | *"$package"*) ;; *) say owed "$id" ;; esac
          ;;
      esac
      id='' pid=0
    }
    while IFS= read -r line; do
      case $line in
        Id=*) id=${line#*=} ;;
        MainPID=*) pid=${line#*=} ;;
        '') tell_owed ;;
      esac
    done
    tell_owed
  }
fi

for list in start restart reload; do
  for file in "/run/nixos/$list-list" "/run/systemd/$list-list"; do
    [ ! -s "$file" ] || say leftover "$file"
  done
done
say pending "$(first_line "$pending")"
say awaits "$(first_line "$awaits")"
for armed in "$runs"/*/armed; do
  [ -e "$armed" ] || continue
  other=${armed%/*}
  if [ "$(cat -- "$armed")" = "$(cat /proc/sys/kernel/random/boot_id)" ]; then say armed "${other##*/}"; fi
done

if command -v nix-store > /dev/null 2>&1; then say nix yes; fi
trusted_users=$(sed -n 's/^[[:space:]]*trusted-users[[:space:]]*=[[:space:]]*//p' /etc/nix/nix.conf 2> /dev/null)
say trusted_users "${trusted_users##*
}"
say free_kib "$(df -Pk /nix | awk 'NR == 2 { print $4 }')"
say boot_free_kib "$(df -Pk /boot 2> /dev/null | awk 'NR == 2 { print $4 }')"

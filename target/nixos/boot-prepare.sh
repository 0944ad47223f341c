# shellcheck shell=sh
# Prepares one boot of the new system, within a separate unit. The old system stays the boot default. The entry for
# one boot is set last, so an earlier interruption leads to the old system.
# Values: run, old, new (systems), folder, once (folder of the one-time boot), profile (of the system that boots
# once), loader (grub or systemd-boot), fallback (script that stays on the machine), fallback_seconds (uptime at which
# an unconfirmed boot ends).
# Leaves in the folder: `prepared` (0, or 1 and a reason).
: "${run:?}" "${old:?}" "${new:?}" "${folder:?}" "${once:?}" "${profile:?}" "${loader:?}" "${fallback:?}"
: "${fallback_seconds:?}" "${control:?}" "${control_wants:?}" "${grub_environment:?}"
PATH=$old/sw/bin
export PATH LC_ALL=C HOME=/root
cd / || exit 1
leave() { printf '%s\n' "$2" > "$1.new" && mv -T -- "$1.new" "$1"; }
fail() {
  leave "$folder/prepared" "1 $1"
  exit 1
}
word=hydra-ops.boot-once=$run
words="panic=10 boot.panic_on_fail $word"

forget_boot_once "$once" "$profile" || fail 'an earlier one-time boot could not be removed'
mkdir -p -- "$once" || fail "the folder $once could not be made"
{ leave "$once/run" "$run" && leave "$once/fallback" "$fallback"; } ||
  fail "the files in $once could not be written"
step files

# The condition prevents the fallback from running in any other boot, even if its units remain.
mkdir -p -- "$control_wants" || fail "the folder $control_wants could not be made"
cat > "$control/hydra-ops-boot-once.service" << END || fail 'the fallback could not be written'
[Unit]
Description=Reboot, because nobody confirmed the new system
DefaultDependencies=no
IgnoreOnIsolate=yes
ConditionKernelCommandLine=$word
ConditionPathExists=$once/armed
FailureAction=reboot-force
[Service]
Type=exec
OOMScoreAdjust=-1000
ExecStart=$old/sw/bin/bash $once/fallback
END
cat > "$control/hydra-ops-boot-once.timer" << END || fail 'the fallback could not be written'
[Unit]
Description=Time for the confirmation of the new system
DefaultDependencies=no
IgnoreOnIsolate=yes
ConditionKernelCommandLine=$word
[Timer]
OnBootSec=$fallback_seconds
AccuracySec=1s
RemainAfterElapse=yes
END
step units
ln -sfn ../hydra-ops-boot-once.timer "$control_wants/hydra-ops-boot-once.timer" ||
  fail 'the fallback could not be enabled'
leave "$once/armed" "$run" || fail "the file $once/armed could not be written"
sync
step armed

mkdir -p -- "${profile%/*}"
nix-env -p "$profile" --set "$new" || fail 'the profile of the new system could not be set'
step generation
"$old/bin/switch-to-configuration" boot < /dev/null || fail "the boot menu could not be made (status $?)"
step menu

# Appends words to the first lines of a file that start the new system. The rest of the menu stays unchanged.
extend() {
  sed "$1 s,^\(.*[[:space:]]init=$new/init.*\)\$,\1 $words," "$2" > "$2.hydra-ops" &&
    grep -q "$word" "$2.hydra-ops" && sync "$2.hydra-ops" && mv -T -- "$2.hydra-ops" "$2"
}
case $loader in
  grub)
    menu=/boot/grub/grub.cfg
    default=$(sed -n 's,.*[[:space:]]init=\(/nix/store/[^[:space:]]*\)/init.*,\1,p' "$menu" | head -n 1)
    [ "$default" = "$old" ] || fail "the boot menu starts ${default:-an unknown system}, and not $old"
    title=$(sed -n "s,^submenu \"\(.* - Profile 'hydra_ops'\)\".*,\1,p" "$menu" | head -n 1)
    [ -n "$title" ] || fail "the boot menu does not list the profile 'hydra_ops'"
    extend "/^submenu \".*Profile 'hydra_ops'\"/,/^}/" "$menu" || fail "the boot menu does not start $new"
    step entry
    sync
    { grub-editenv "$grub_environment" set "next_entry=$title>0" && sync -f "$grub_environment"; } ||
      fail 'GRUB could not be told the entry for one boot'
    ;;
  systemd-boot)
    default=$(boot_default)
    [ "$default" = "$old" ] || fail "the boot menu starts ${default:-an unknown system}, and not $old"
    # The title has the profile in brackets. The name of the file has the profile in older releases of NixOS, and only
    # a hash in newer ones.
    entry=$(grep -l "[[:space:]]init=$new/init" /boot/loader/entries/*.conf | while IFS= read -r each; do
      grep -q '^title .*\[hydra_ops\]' "$each" && printf '%s\n' "$each"
    done | head -n 1)
    [ -n "$entry" ] || fail "the boot menu does not list the profile 'hydra_ops'"
    extend '/^options/' "$entry" || fail "the boot menu does not start $new"
    # Without its counters, the entry is not counted: the fallback already limits this boot. A later deletion of a
    # counted entry would let the service that blesses the boot fail.
    name=${entry##*/} name=${name%.conf} name=${name%+*}.conf
    [ "$entry" = "${entry%/*}/$name" ] || mv -T -- "$entry" "${entry%/*}/$name" ||
      fail 'the entry for one boot could not be renamed'
    step entry
    : > "$once/oneshot"
    sync_menu || fail 'the entry for one boot could not be written to the disk'
    bootctl set-oneshot "$name" || fail 'systemd-boot could not be told the entry for one boot'
    ;;
  *) fail "there is no way to boot once by $loader" ;;
esac
sync
step next
leave "$folder/prepared" 0

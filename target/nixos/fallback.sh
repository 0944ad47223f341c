# shellcheck shell=sh
# Ends a one-time boot that nobody confirmed in time: a reboot leads to the old system. A timer starts this script in
# the new system, which may lack any program. The script therefore uses the old system's programs.
# Values: old (system), once (folder of the one-time boot), log.
: "${old:?}" "${once:?}" "${log:?}"
PATH=$old/sw/bin
export PATH LC_ALL=C HOME=/root
cd / || exit 1
# The rename can also fail because of a broken disk. The file `armed` then still exists, and nobody confirmed the
# boot.
mv -T -- "$once/armed" "$once/fired" 2> /dev/null || [ -e "$once/armed" ] || exit 0
if true 2> /dev/null >> "$log"; then exec >> "$log" 2>&1; fi
echo 'hydra-ops: nobody confirmed the new system in time; rebooting into the old one'
# GRUB would otherwise start the new system again if it could not remove its entry for one boot.
if [ -e /boot/grub/grubenv ]; then timeout 60 grub-editenv /boot/grub/grubenv unset next_entry; fi
timeout 60 sync
timeout 60 systemctl --no-block reboot
sleep 120
timeout 60 systemctl reboot --force
sleep 60
timeout 60 systemctl reboot --force --force
sleep 30
echo b > /proc/sysrq-trigger

# shellcheck shell=sh
# Writes the host key, the login key and the host name of a NixOS machine. The seed disk describes files as lines for
# systemd-tmpfiles; old releases of systemd cannot read these lines. Runs at each boot of the image `nixos`.
# Values: none.
set -e
seed=/run/hydra-ops-seed
umask 077
mkdir -p "$seed"
mount -t iso9660 -o ro /dev/disk/by-label/cidata "$seed"
# Prints the text of a file that the seed describes.
text_of() {
  while read -r _ path _ _ _ _ text; do
    [ "$path" != "$1" ] || printf %s "$text" | base64 -d
  done < "$seed/hydra-ops.tmpfiles"
}
# Replaces a file, which a power cut may have left empty.
write() {
  text_of "$2" > "$1.new"
  chmod "$3" "$1.new"
  mv "$1.new" "$1"
}
login=~root/.ssh
mkdir -p /etc/ssh "$login"
chmod 755 /etc/ssh
write /etc/ssh/ssh_host_ed25519_key /etc/ssh/ssh_host_ed25519_key 600
write /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ed25519_key.pub 644
# A NixOS system manages /etc/ssh/authorized_keys.d itself, and leaves root's home alone.
write "$login/authorized_keys" /etc/ssh/authorized_keys.d/root 600
text_of /etc/hostname > /proc/sys/kernel/hostname
umount "$seed"
rmdir "$seed"

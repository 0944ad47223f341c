# Builds the parts of the `nixos` image that depend on its nixpkgs: the system, and a boot loader that starts the
# system. The closure of the result is the whole Nix store of the image. target/pack-image.sh creates the disk.
{ pkgs, toplevel }:
let
  grub = pkgs.grub2;
in
pkgs.runCommand "hydra-ops-nixos-image" { } ''
  mkdir -p $out
  ln -s ${toplevel} $out/system
  ${grub}/bin/grub-mkimage -d ${grub}/lib/grub/i386-pc -O i386-pc -p '(hd0,msdos1)/boot/grub' -o $out/core.img \
    biosdisk part_msdos ext2 normal linux
  cp ${grub}/lib/grub/i386-pc/boot.img $out/boot.img
  printf 'linux %s/kernel init=%s/init %s\ninitrd %s/initrd\nboot\n' \
    ${toplevel} ${toplevel} "$(cat ${toplevel}/kernel-params)" ${toplevel} > $out/grub.cfg
''

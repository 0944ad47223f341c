# Generated from config.ts by scripts/options.ts: change config.ts, then run the script. config.ts checks the
# same options for every kind of machine. It also checks rules that no type expresses, such as unique ports.
{ lib, ... }:
let
  inherit (lib) mkOption;
  types = import ../../nix/types.nix lib;
  atLeast = least:
    types.addCheck types.int (value: value >= least) // { description = "integer of at least ${toString least}"; };
  named = pattern: type:
    types.addCheck (types.attrsOf type) (set: builtins.all (name: builtins.match pattern name != null) (builtins.attrNames set));
  notEmpty = types.addCheck types.str (text: text != "") // { description = "string that is not empty"; };
in
{
  options.deployment.virtualbox = {
    memorySize = mkOption {
      type = atLeast 64;
      default = 1024;
      example = 4096;
      description = "Memory in MiB.";
    };
    vcpu = mkOption {
      type = types.nullOr (types.ints.between 1 64);
      default = null;
      example = 2;
      description = "Number of virtual CPUs. Default: `1`.";
    };
    headless = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "`false` opens a window on the screen of this host.";
    };
    vmFlags = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = [ "--nested-hw-virt" "on" ];
      description = "Arguments that hydra-ops adds to `VBoxManage modifyvm`, unchanged.";
    };
    extraFlags = mkOption {
      type = named "[a-z][a-z0-9-]*" types.str;
      default = { };
      example = { vm-execution-engine = "recompiler"; };
      description = "Options of `VBoxManage modifyvm` by name; they follow `vmFlags`, and join those of `defaults`.";
    };
    baseImage = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "debian-12";
      description = "Base image: a name in `hydra-ops image list`, a qcow2 or raw file, or a URL. A later change needs `--allow-recreate`. `\"nixos\"` is built from the nixpkgs of the machine, and is experimental. Default: the image for `deployment.os` (`\"debian-12\"`, `\"nixos\"`).";
    };
    baseImageSha256 = mkOption {
      type = types.nullOr (types.strMatching "[0-9a-f]{64}");
      default = null;
      example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
      description = "SHA-256 of the file at the URL, as `sha256sum` prints it.";
    };
    baseImageIdentity = mkOption {
      type = types.nullOr (types.enum [ "nocloud" "none" ]);
      default = null;
      example = "nocloud";
      description = "Way in which the image gets the host name and the keys: a seed disk, also for cloud-init (`\"nocloud\"`), or none. Default: the record of the image.";
    };
    baseImageSize = mkOption {
      type = types.ints.between 1 65536;
      default = 10;
      example = 20;
      description = "Size of the root disk in GiB; the disk and its file system can grow, and cannot shrink. `disks.disk1.size` comes first.";
    };
    disks = mkOption {
      type = named "[A-Za-z0-9][A-Za-z0-9_-]{0,19}" (types.submodule {
        options = {
          port = mkOption {
            type = types.nullOr (types.ints.between 0 7);
            default = null;
            example = 1;
            description = "Port of the disk controller, 0 to 7; only `disk1` has one by default: 0.";
          };
          size = mkOption {
            type = types.ints.between 0 64000000;
            default = 0;
            example = 10240;
            description = "Size in MiB; a disk can grow, and cannot shrink. `0` is the size of its image.";
          };
          baseImage = mkOption {
            type = types.nullOr (types.either types.path types.str);
            default = null;
            example = "./data.vmdk";
            description = "Disk image (vdi, vmdk, vhd, qcow2 or raw) that a new disk copies.";
          };
        };
      });
      default = { };
      example = { data = { port = 1; size = 10240; }; };
      description = "Further disks by name; `disk1` is the disk with the system, at port 0 by default.";
    };
    diskController = mkOption {
      type = types.nullOr (types.enum [ "sata" "virtio" ]);
      default = null;
      example = "virtio";
      description = "Kind of the disk controller; a later change needs `--allow-recreate`. Default: `\"sata\"`.";
    };
    linkedClone = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Gives a new machine a root disk that holds only the differences from its image.";
    };
    sharedFolders = mkOption {
      type = types.attrsOf (types.submodule {
        options = {
          hostPath = mkOption {
            type = types.either types.path (types.strMatching "/.*");
            example = "/srv/share";
            description = "Folder of this host, which the guest can mount: `mount -t vboxsf NAME FOLDER`.";
          };
          readOnly = mkOption {
            type = types.bool;
            default = true;
            example = false;
            description = "Keeps the guest from writing to the folder.";
          };
        };
      });
      default = { };
      example = { share = { hostPath = "/srv/share"; readOnly = false; }; };
      description = "Folders of this host that the guest can mount, by name.";
    };
    lan = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Network that is private to the deployment, in which machines find each other by name.";
    };
    hostOnly = mkOption {
      type = types.nullOr (types.submodule {
        options = {
          adapter = mkOption {
            type = types.nullOr notEmpty;
            default = null;
            example = "vboxnet0";
            description = "Name of a host-only adapter of this host.";
          };
          network = mkOption {
            type = types.nullOr notEmpty;
            default = null;
            example = "HostNetwork";
            description = "Name of a host-only network, which VirtualBox has only on macOS.";
          };
          address = mkOption {
            type = types.nullOr (types.strMatching "[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}");
            default = null;
            example = "192.168.56.10/24";
            description = "Address of the guest; otherwise a DHCP server of VirtualBox chooses the address.";
          };
        };
      });
      default = null;
      example = { adapter = "vboxnet0"; address = "192.168.56.10/24"; };
      description = "Network between this host and its guests. Its addresses lie in 192.168.56.0/21, or in the ranges of `/etc/vbox/networks.conf`.";
    };
    natForwards = mkOption {
      type = types.listOf (types.submodule {
        options = {
          host = mkOption {
            type = types.ints.between 1 65535;
            example = 8080;
            description = "Port on 127.0.0.1 of this host.";
          };
          guest = mkOption {
            type = types.ints.between 1 65535;
            example = 80;
            description = "Port of the guest.";
          };
          proto = mkOption {
            type = types.enum [ "tcp" ];
            default = "tcp";
            example = "tcp";
            description = "Protocol of the port.";
          };
        };
      });
      default = [ ];
      example = [ { host = 8080; guest = 80; } ];
      description = "TCP ports of the guest that this host publishes on 127.0.0.1; `info` shows the URLs.";
    };
    firmware = mkOption {
      type = types.enum [ "bios" "efi" ];
      default = "bios";
      example = "efi";
      description = "Firmware of the machine; the images of hydra-ops boot only with a BIOS.";
    };
  };
}

# Generated from config.ts by scripts/options.ts: change config.ts, then run the script. config.ts checks the
# same options for every kind of machine. It also checks rules that no type expresses, such as unique ports.
{ lib, ... }:
let
  inherit (lib) mkOption;
  types = import ../../nix/types.nix lib;
  atLeast = least:
    types.addCheck types.int (value: value >= least) // { description = "integer of at least ${toString least}"; };
  atMost = count: type: types.addCheck (types.listOf type) (list: builtins.length list <= count);
  named = pattern: type:
    types.addCheck (types.attrsOf type) (set: builtins.all (name: builtins.match pattern name != null) (builtins.attrNames set));
  notEmpty = types.addCheck types.str (text: text != "") // { description = "string that is not empty"; };
  only = name: type: types.addCheck (types.attrsOf type) (set: builtins.attrNames set == [ name ]);
in
{
  options.deployment.libvirtd = {
    URI = mkOption {
      type = types.nullOr (types.strMatching "(qemu|test)(\\+unix)?:///.*");
      default = null;
      example = "qemu:///session";
      description = "Libvirt connection on this host: `\"qemu:///session\"` or `\"qemu:///system\"`. Default: `\"qemu:///system\"` for root, `\"qemu:///session\"` for everybody else.";
    };
    vcpu = mkOption {
      type = types.ints.between 1 512;
      default = 1;
      example = 2;
      description = "Number of virtual CPUs.";
    };
    memorySize = mkOption {
      type = atLeast 64;
      default = 1024;
      example = 2048;
      description = "Memory in MiB.";
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
      type = types.nullOr (types.enum [ "fwcfg" "nocloud" "none" ]);
      default = null;
      example = "nocloud";
      description = "Way in which the image gets the host name and the keys: a systemd credential (`\"fwcfg\"`), a seed disk, also for cloud-init (`\"nocloud\"`), or none. Default: the record of the image.";
    };
    baseImageSize = mkOption {
      type = types.ints.between 1 65536;
      default = 10;
      example = 20;
      description = "Size of the root disk in GiB; the disk and its file system can grow, and cannot shrink.";
    };
    extraDisks = mkOption {
      type = named "[A-Za-z0-9][A-Za-z0-9_-]{0,19}" (types.ints.between 1 65536);
      default = { };
      example = { data = 20; };
      description = "Further empty disks by name, each with its size in GiB; the guest has them as `/dev/disk/by-id/virtio-<name>`.";
    };
    storagePool = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "default";
      description = "Storage pool of libvirt (a directory pool) for the disks. Default: none: the disks are in the deployment's folder.";
    };
    networks = mkOption {
      type = atMost 8 (types.oneOf [ notEmpty (only "network" notEmpty) (only "bridge" (types.strMatching "[^[:space:]/]{1,15}")) ]);
      default = [ "lan" ];
      example = [ "lan" { bridge = "br0"; } { network = "default"; } ];
      description = "Networks, besides the one for ssh. `\"lan\"` is private to the deployment; `{ network = …; }` or another name is a network of libvirt; `{ bridge = …; }` is a bridge of this host.";
    };
    forwardPorts = mkOption {
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
    outbound = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "Lets the guest open connections: to the internet, and through 10.0.2.2 to loopback ports of this host.";
    };
    domainType = mkOption {
      type = types.enum [ "auto" "kvm" "qemu" ];
      default = "auto";
      example = "qemu";
      description = "`\"kvm\"`, `\"qemu\"` (emulation), or KVM if it works and emulation otherwise (`\"auto\"`).";
    };
    headless = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "`false` adds a screen, which VNC shows on 127.0.0.1.";
    };
    kernel = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "/boot/vmlinuz";
      description = "Kernel to boot, in place of the image's kernel.";
    };
    initrd = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "/boot/initrd.img";
      description = "Initial RAM disk of that kernel.";
    };
    cmdline = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "console=ttyS0 root=/dev/vda rw";
      description = "Kernel command line, in place of the image's.";
    };
    autostart = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Starts the machine together with libvirt's daemon.";
    };
    extraDevicesXML = mkOption {
      type = types.str;
      default = "";
      example = "<sound model='ich9'/>";
      description = "XML that hydra-ops adds to the `<devices>` of the domain, unchanged.";
    };
    extraDomainXML = mkOption {
      type = types.str;
      default = "";
      example = "<iothreads>2</iothreads>";
      description = "XML that hydra-ops adds to the `<domain>`, unchanged.";
    };
  };
}

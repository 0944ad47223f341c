# Generated from config.ts by scripts/options.ts: change config.ts and run it. config.ts checks the same options for
# every kind of machine, and rules that are no types (such as a port that stands twice) besides.
{ lib, ... }:
let
  inherit (lib) mkOption types;
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
      description = "The libvirt of this host to use: `\"qemu:///session\"` or `\"qemu:///system\"`. Default: `\"qemu:///system\"` for root, `\"qemu:///session\"` for everybody else.";
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
      description = "A name known to `hydra-ops image`, a qcow2 or raw file, or a URL; another one later needs `--allow-recreate`. Default: the image for `deployment.os` (`\"debian-12\"`).";
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
      description = "How an image that hydra-ops did not make takes host name and keys: by a systemd credential, by a cloud-init seed disk, or not at all. Default: as the image says.";
    };
    baseImageSize = mkOption {
      type = types.ints.between 1 65536;
      default = 10;
      example = 20;
      description = "Size of the root disk in GiB; it can grow (the file system with it) and not shrink.";
    };
    extraDisks = mkOption {
      type = named "[A-Za-z0-9][A-Za-z0-9_-]{0,19}" (types.ints.between 1 65536);
      default = { };
      example = { data = 20; };
      description = "Further empty disks: name and size in GiB; `/dev/disk/by-id/virtio-<name>` in the guest.";
    };
    storagePool = mkOption {
      type = types.nullOr types.str;
      default = null;
      example = "default";
      description = "A storage pool (a directory) for the disks; without it the deployment's own folder.";
    };
    networks = mkOption {
      type = atMost 8 (types.oneOf [ notEmpty (only "network" notEmpty) (only "bridge" (types.strMatching "[^[:space:]/]{1,15}")) ]);
      default = [ "lan" ];
      example = [ "lan" { bridge = "br0"; } { network = "default"; } ];
      description = "Networks besides the one that carries ssh: `\"lan\"` is private to the deployment, another name or `{ network = …; }` is one of libvirt's, `{ bridge = …; }` a bridge of this host.";
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
            description = "The protocol.";
          };
        };
      });
      default = [ ];
      example = [ { host = 8080; guest = 80; } ];
      description = "TCP ports of the guest on 127.0.0.1 of this host; `info` shows the URL.";
    };
    outbound = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "The guest may reach out of its own accord: the internet, and by 10.0.2.2 ports of this host's loopback.";
    };
    domainType = mkOption {
      type = types.enum [ "auto" "kvm" "qemu" ];
      default = "auto";
      example = "qemu";
      description = "`\"kvm\"`, `\"qemu\"` (emulation), or what works.";
    };
    headless = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "`false`: a screen, by VNC on 127.0.0.1.";
    };
    kernel = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "/boot/vmlinuz";
      description = "Kernel to boot instead of the image's.";
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
      description = "Kernel command line instead of the image's.";
    };
    autostart = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Start the machine with libvirt's daemon.";
    };
    extraDevicesXML = mkOption {
      type = types.str;
      default = "";
      example = "<sound model='ich9'/>";
      description = "XML that is added to the `<devices>` of the domain as it stands.";
    };
    extraDomainXML = mkOption {
      type = types.str;
      default = "";
      example = "<iothreads>2</iothreads>";
      description = "XML that is added to the `<domain>` as it stands.";
    };
  };
}

# The options deployment.libvirtd.*, as a NixOS module. config.ts checks the same ones for every kind of machine.
{ lib, ... }:
let
  inherit (lib) mkOption types;
  nullOrStr = types.nullOr types.str;
in
{
  options.deployment.libvirtd = {
    URI = mkOption {
      type = nullOrStr;
      default = null;
      example = "qemu:///session";
      description = "Which libvirt of this host. null: qemu:///system for root, qemu:///session for everybody else.";
    };
    storagePool = mkOption {
      type = nullOrStr;
      default = null;
      example = "default";
      description = "Storage pool (a directory) for the disks. null: the deployment's own folder.";
    };
    vcpu = mkOption {
      type = types.ints.positive;
      default = 1;
      example = 2;
      description = "Number of virtual CPUs.";
    };
    memorySize = mkOption {
      type = types.ints.positive;
      default = 1024;
      example = 2048;
      description = "Memory in MiB.";
    };
    headless = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "false gives the machine a screen, reached by VNC on 127.0.0.1.";
    };
    baseImage = mkOption {
      type = types.nullOr (types.either types.path types.str);
      default = null;
      example = "debian-12";
      description = "A name known to `hydra-ops image`, a qcow2 or raw file, or a URL. null: the image for the machine's deployment.os.";
    };
    baseImageSha256 = mkOption {
      type = nullOrStr;
      default = null;
      example = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
      description = "What sha256sum prints for the file at the URL.";
    };
    baseImageIdentity = mkOption {
      type = types.nullOr (types.enum [ "fwcfg" "nocloud" "none" ]);
      default = null;
      example = "nocloud";
      description = "How an image that hydra-ops did not make takes its host name and keys: a systemd credential, a cloud-init seed disk, or not at all. null: as the image says.";
    };
    baseImageSize = mkOption {
      type = types.ints.positive;
      default = 10;
      example = 20;
      description = "Size of the root disk in GiB. It can grow and not shrink.";
    };
    extraDisks = mkOption {
      type = types.attrsOf types.ints.positive;
      default = { };
      example = { data = 20; };
      description = "Further empty disks: name to size in GiB. In the guest: /dev/disk/by-id/virtio-NAME.";
    };
    networks = mkOption {
      type = types.listOf (types.either types.str (types.attrsOf types.str));
      default = [ "lan" ];
      example = [ "lan" { bridge = "br0"; } { network = "default"; } ];
      description = "Networks besides the one that carries ssh. \"lan\": a network private to the deployment; another name or { network = …; }: a network of libvirt; { bridge = …; }: a bridge of this host.";
    };
    forwardPorts = mkOption {
      type = types.listOf (types.submodule {
        options = {
          host = mkOption { type = types.port; };
          guest = mkOption { type = types.port; };
          proto = mkOption { type = types.enum [ "tcp" ]; default = "tcp"; };
        };
      });
      default = [ ];
      example = [ { host = 8080; guest = 80; } ];
      description = "Ports of the guest published on 127.0.0.1 of the operator host.";
    };
    outbound = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = "May the guest reach out of its own accord: the internet, and (by 10.0.2.2) ports of the operator host's loopback?";
    };
    domainType = mkOption {
      type = types.enum [ "auto" "kvm" "qemu" ];
      default = "auto";
      example = "qemu";
      description = "kvm, qemu (emulation), or what works.";
    };
    kernel = mkOption {
      type = nullOrStr;
      default = null;
      example = "/boot/vmlinuz";
      description = "Kernel to boot instead of the image's.";
    };
    initrd = mkOption {
      type = nullOrStr;
      default = null;
      example = "/boot/initrd.img";
      description = "Initial RAM disk to that kernel.";
    };
    cmdline = mkOption {
      type = nullOrStr;
      default = null;
      example = "console=ttyS0 root=/dev/vda rw";
      description = "Kernel command line instead of the image's.";
    };
    extraDevicesXML = mkOption {
      type = types.str;
      default = "";
      example = "<sound model='ich9'/>";
      description = "XML to add to the domain's <devices>.";
    };
    extraDomainXML = mkOption {
      type = types.str;
      default = "";
      example = "<iothreads>2</iothreads>";
      description = "XML to add to the <domain>.";
    };
    autostart = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Start the machine with libvirt's daemon.";
    };
  };
}

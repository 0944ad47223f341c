# Generated from the schemas of src/core by scripts/options.ts: change the schemas and run it.
{ lib, ... }:
let
  inherit (lib) mkOption;
  types = import ./types.nix lib;

  # `deployment.keys.<name>`; its file is at `path`.
  key = types.submodule ({ name, config, ... }: {
    options = {
      text = mkOption { type = types.nullOr types.str; default = null; description = "The secret itself, readable in your expression; for experiments only."; };
      keyFile = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "File on the operator host with the secret; a deploy reads the file, and never copies it to the Nix store."; };
      keyCommand = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Command on the operator host that prints the secret; a deploy runs the command once, and `plan` never runs it."; };
      destDir = mkOption { type = types.either types.path types.str; default = "/run/keys"; description = "Folder of the file on the machine. A reboot empties `/run`; the next deploy or `send-keys` sends the key again."; };
      user = mkOption { type = types.str; default = "root"; description = "Owner of the file; the owner can enter the key's folder if hydra-ops made the folder."; };
      group = mkOption { type = types.str; default = "root"; description = "Group of the file; the group can enter the key's folder if hydra-ops made the folder, and the group may read the file."; };
      permissions = mkOption { type = types.str; default = "0600"; description = "Mode of the file."; };
      uploadAt = mkOption { type = types.enum [ "pre-activation" "post-activation" ]; default = "pre-activation"; description = "Time of the delivery: before or after the activation."; };
      name = mkOption { type = types.str; default = name; description = "Name of the file on the machine."; };
      path = mkOption { type = types.str; default = "${config.destDir}/${config.name}"; description = "Path of the file on the machine."; };
    };
  });
  # A text is the old form of NixOps.
  keyOf = name: given:
    if builtins.isString given then key.merge [ "deployment" "keys" name ] [ { file = ./options.nix; value.text = given; } ] else given;

  checks = description: mkOption {
    type = types.submodule {
      options = {
        cmd = mkOption {
          type = types.listOf (types.submodule {
            options = {
              description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
              period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
              timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
              total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
              cmd = mkOption { type = types.listOf types.str; description = "Command to run on the machine; exit status 0 is healthy."; };
            };
          });
          default = [ ];
        };
        http = mkOption {
          type = types.listOf (types.submodule {
            options = {
              description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
              period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
              timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
              total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
              host = mkOption { type = types.nullOr types.str; default = null; description = "Host to check, as the operator host reaches it. Default: the machine itself."; };
              scheme = mkOption { type = types.enum [ "http" "https" ]; default = "http"; description = "Scheme of the URL; a status of 200 to 299 is healthy."; };
              port = mkOption { type = types.int; description = "Port of the server."; };
              path = mkOption { type = types.str; default = "/"; description = "Path of the URL."; };
              headers = mkOption { type = types.attrsOf types.str; default = { }; description = "Headers of the request."; };
              insecureSSL = mkOption { type = types.bool; default = false; description = "Accepts any certificate."; };
            };
          });
          default = [ ];
        };
        tcp = mkOption {
          type = types.listOf (types.submodule {
            options = {
              description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
              period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
              timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
              total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
              host = mkOption { type = types.nullOr types.str; default = null; description = "Host to check, as the operator host reaches it. Default: the machine itself."; };
              port = mkOption { type = types.int; description = "Port of the server."; };
            };
          });
          default = [ ];
        };
        systemd = mkOption {
          type = types.listOf (types.submodule {
            options = {
              description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
              period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
              timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
              total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
              unit = mkOption { type = types.str; description = "Unit of the machine; the state `active` is healthy."; };
            };
          });
          default = [ ];
        };
      };
    };
    default = { };
    inherit description;
  };

  # An option of Debian machines; hydra-ops refuses its definitions, with the option of NixOS that does the same.
  debianOption = mkOption { type = types.unspecified; default = null; description = "Option of Debian machines."; };
in
{
  options.deployment = {
    os = mkOption { type = types.enum [ "debian" "nixos" ]; default = "nixos"; description = "Operating system of the machine; Debian also stands for Ubuntu and their derivatives."; };
    targetEnv = mkOption { type = types.str; default = "none"; description = "The provider: `\"libvirtd\"` (or `\"libvirt\"`) makes a guest, `\"none\"` (or `\"ssh\"`) takes an existing host."; };
    targetHost = mkOption { type = types.nullOr types.str; default = null; description = "Provider ssh: address of the host, or its name in your `~/.ssh/config`. Default: the machine's name."; };
    targetHosts = mkOption { type = types.listOf types.str; default = [ ]; description = "Provider ssh: several addresses of one host, instead of `targetHost`. They are tried in order, and the first that shows the known host key is taken."; };
    targetPort = mkOption { type = types.nullOr types.int; default = null; description = "Provider ssh: TCP port of the ssh server. Default: `22`, or the port in `~/.ssh/config`."; };
    targetUser = mkOption { type = types.nullOr types.str; default = null; description = "Provider ssh: user who logs in; any user but root needs `privilegeEscalationCommand`. Default: `\"root\"`, or the user in `~/.ssh/config`."; };
    targetHostKey = mkOption { type = types.nullOr types.str; default = null; description = "Provider ssh: public key that the host must show at the first contact."; };
    sshOptions = mkOption { type = types.listOf types.str; default = [ ]; description = "Flags of ssh(1) with a keyword in ssh_config(5) (`-p 2222`, `-i FILE`, `-J HOST`), or `-o Keyword=value`. The flags apply to every connection: hydra-ops' own, `ssh`, `scp` and copies. `-F`, `-L` and other flags for a single call are refused. Flags that would loosen the check of the host key have no effect."; };
    privilegeEscalationCommand = mkOption { type = types.listOf types.str; default = [ "sudo" "-H" "--" ]; description = "Command by which a user who is not root becomes root."; };
    hasFastConnection = mkOption { type = types.bool; default = false; description = "Option of NixOps without effect, because hydra-ops never compresses ssh."; };
    substituteOnDestination = mkOption { type = types.bool; default = false; description = "Lets the machine fetch available paths from its substituters; the operator host sends only the others. No effect on a machine with a sudo password, doas, or a login shell that prints."; };
    allowLocalDeployment = mkOption { type = types.bool; default = false; description = "Option of Colmena; `true` is refused, because the feature is not there yet."; };
    buildOnTarget = mkOption { type = types.bool; default = false; description = "Option of Colmena; `true` is refused, because the feature is not there yet."; };
    buildOnly = mkOption { type = types.bool; default = false; description = "Option of Morph; `true` is refused, because the feature is not there."; };
    provisionSSHKey = mkOption { type = types.bool; default = false; description = "Option of NixOps; `true` is refused, because hydra-ops installs no key on an existing host."; };
    replaceUnknownProfiles = mkOption { type = types.bool; default = false; description = "Option of Colmena; `true` is refused, and `deploy --replace-unknown` does the same once."; };
    storeKeysOnMachine = mkOption { type = types.bool; default = false; description = "Option of NixOps; `true` is refused, because no secret may enter the Nix store."; };
    tags = mkOption { type = types.listOf types.str; default = [ ]; description = "Names for `--on @tag` and `network.ordering.tags`."; };
    owners = mkOption { type = types.listOf types.str; default = [ ]; description = "People who are responsible for the machine; `info --json` shows them."; };
    alwaysActivate = mkOption { type = types.bool; default = false; description = "Activates the machine even if nothing changed."; };
    hydraSource = mkOption {
      type = types.submodule {
        options = {
          url = mkOption { type = types.nullOr types.str; default = null; description = "URL of the Hydra that builds the machine. Default: `network.hydra.url`."; };
          project = mkOption { type = types.nullOr types.str; default = null; description = "Project of the jobset. Default: `network.hydra.project`."; };
          jobset = mkOption { type = types.nullOr types.str; default = null; description = "Jobset that builds the network. Default: `network.hydra.jobset`."; };
          gate = mkOption { type = types.nullOr types.str; default = null; description = "Job that must have succeeded: an aggregate of all machines, or a test. Default: `network.hydra.gate`, or `\"release\"`."; };
          job = mkOption { type = types.nullOr types.str; default = null; description = "Job whose result is the system of this machine. Default: the machine's name."; };
        };
      };
      default = { };
      example = { job = "hosts.web"; };
      description = "The Hydra whose results `deploy --from-hydra` deploys.";
    };
    autoUpdate = mkOption {
      type = types.submodule {
        options = {
          enable = mkOption { type = types.bool; default = false; description = "Lets the machine fetch and activate what Hydra built; when it is dropped, the timer is removed."; };
          url = mkOption { type = types.nullOr types.str; default = null; description = "URL of the Hydra, as the machine reaches it. Default: `deployment.hydraSource.url`, or `network.hydra.url`."; };
          project = mkOption { type = types.nullOr types.str; default = null; description = "Project of the jobset. Default: `deployment.hydraSource.project`, or `network.hydra.project`."; };
          jobset = mkOption { type = types.nullOr types.str; default = null; description = "Jobset that builds the machine. Default: `deployment.hydraSource.jobset`, or `network.hydra.jobset`."; };
          job = mkOption { type = types.nullOr types.str; default = null; description = "Job whose result is the system of this machine. Default: `deployment.hydraSource.job`, or the machine's name."; };
          gate = mkOption { type = types.nullOr types.str; default = null; description = "Job that must have succeeded. Default: `deployment.hydraSource.gate`, `network.hydra.gate`, or `\"release\"`."; };
          dates = mkOption { type = types.str; default = "04:40"; description = "Times of the update, as calendar events of systemd.time(7); on Debian also a line of cron; a run begins up to 15 minutes later."; };
          maxAge = mkOption { type = types.nullOr types.str; default = null; description = "Greatest age of an evaluation that is activated. Default: any age."; };
          allowReboot = mkOption { type = types.bool; default = false; description = "NixOS: boots once into a build that needs a boot, while the old system stays the boot default; also updates at each boot."; };
          healthChecks = mkOption {
            type = types.nullOr (types.submodule {
              options = {
                cmd = mkOption {
                  type = types.listOf (types.submodule {
                    options = {
                      description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
                      period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
                      timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
                      total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
                      cmd = mkOption { type = types.listOf types.str; description = "Command to run on the machine; exit status 0 is healthy."; };
                    };
                  });
                  default = [ ];
                };
                http = mkOption {
                  type = types.listOf (types.submodule {
                    options = {
                      description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
                      period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
                      timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
                      total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
                      host = mkOption { type = types.nullOr types.str; default = null; description = "Host to check, as the operator host reaches it. Default: the machine itself."; };
                      scheme = mkOption { type = types.enum [ "http" "https" ]; default = "http"; description = "Scheme of the URL; a status of 200 to 299 is healthy."; };
                      port = mkOption { type = types.int; description = "Port of the server."; };
                      path = mkOption { type = types.str; default = "/"; description = "Path of the URL."; };
                      headers = mkOption { type = types.attrsOf types.str; default = { }; description = "Headers of the request."; };
                      insecureSSL = mkOption { type = types.bool; default = false; description = "Accepts any certificate."; };
                    };
                  });
                  default = [ ];
                };
                tcp = mkOption {
                  type = types.listOf (types.submodule {
                    options = {
                      description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
                      period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
                      timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
                      total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
                      host = mkOption { type = types.nullOr types.str; default = null; description = "Host to check, as the operator host reaches it. Default: the machine itself."; };
                      port = mkOption { type = types.int; description = "Port of the server."; };
                    };
                  });
                  default = [ ];
                };
                systemd = mkOption {
                  type = types.listOf (types.submodule {
                    options = {
                      description = mkOption { type = types.nullOr types.str; default = null; description = "Name of the check in the log and in errors. Default: kind and target of the check."; };
                      period = mkOption { type = types.number; default = 2; description = "Pause between two attempts."; };
                      timeout = mkOption { type = types.number; default = 5; description = "Deadline of one attempt."; };
                      total = mkOption { type = types.number; default = 60; description = "Time after which the check fails for good."; };
                      unit = mkOption { type = types.str; description = "Unit of the machine; the state `active` is healthy."; };
                    };
                  });
                  default = [ ];
                };
              };
            });
            default = null;
            example = { systemd = [ { unit = "nginx.service"; } ]; };
            description = "Checks after the activation; the machine goes back to its former system if one of them fails. Default: `deployment.healthChecks`.";
          };
        };
      };
      default = { };
      example = { enable = true; };
      description = "Updates of the machine by itself, from what a Hydra built.";
    };
    nix = mkOption {
      type = types.submodule {
        options = {
          substituters = mkOption { type = types.listOf types.str; default = [ ]; description = "Binary caches that the machine's Nix uses, in place of Nix' own default; an empty list means none."; };
          trustedPublicKeys = mkOption { type = types.listOf types.str; default = [ ]; description = "Public keys of binary caches that the machine's Nix trusts, besides Nix' own default."; };
          trustedUsers = mkOption { type = types.listOf types.str; default = [ ]; description = "Users and groups (`@wheel`) that the machine's Nix daemon trusts, besides root."; };
          allowedUris = mkOption { type = types.listOf types.str; default = [ ]; description = "URIs that a restricted evaluation, such as Hydra's, may fetch from, besides its inputs."; };
          extraOptions = mkOption { type = types.str; default = ""; description = "Further lines of `nix.conf`. Every user of the machine may read the lines; `!include` can name a file that holds a secret. A line replaces hydra-ops' line of the same name (`sandbox`, `sandbox-paths`, `sync-before-registering`, `keep-outputs`, `keep-derivations`); `extra-NAME` adds to the value. A setting with an option of its own in this table is refused."; };
          gc = mkOption {
            type = types.submodule {
              options = {
                automatic = mkOption { type = types.bool; default = false; description = "Collects garbage by a timer."; };
                dates = mkOption { type = types.str; default = "weekly"; description = "Time of the collection: a calendar event of systemd, or the time of a cron line."; };
                options = mkOption { type = types.str; default = ""; description = "Options of nix-collect-garbage(1)."; };
              };
            };
            default = { };
            example = { automatic = true; };
            description = "Garbage collection.";
          };
          autoOptimiseStore = mkOption { type = types.bool; default = false; description = "Stores equal files of the Nix store once."; };
        };
      };
      default = { };
      example = { autoOptimiseStore = true; };
      description = "Nix on the machine.";
    };
    cacheKey = mkOption {
      type = types.submodule {
        options = {
          enable = mkOption { type = types.bool; default = false; description = "Makes a key pair that signs a binary cache; `hydra-ops cache key` shows the public key."; };
          keyName = mkOption { type = types.nullOr types.str; default = null; description = "Name of the key, which is part of each signature. Default: `\"DEPLOYMENT-MACHINE-1\"`."; };
          directory = mkOption { type = types.either types.path types.str; default = "/etc/hydra-ops/cache-key"; description = "Folder of both keys on the machine."; };
          group = mkOption { type = types.str; default = "root"; description = "Group that may read the secret key, like root."; };
        };
      };
      default = { enable = false; directory = "/etc/hydra-ops/cache-key"; group = "root"; };
      example = { enable = true; };
      description = "A key pair that signs a binary cache.";
    };
    inherit (import ./hydra-options.nix { inherit mkOption types; }) hydra;
    binfmt = mkOption {
      type = types.submodule {
        options = {
          emulatedSystems = mkOption { type = types.listOf (types.enum [ "aarch64-linux" "armv6l-linux" "armv7l-linux" "i686-linux" "mips64el-linux" "mipsel-linux" "powerpc64-linux" "powerpc64le-linux" "riscv32-linux" "riscv64-linux" "s390x-linux" "x86_64-linux" ]); default = [ ]; description = "Systems whose programs run by emulation. The machine's Nix builds for them, and so do its Hydra and its `deployment.builder`."; };
        };
      };
      default = { };
      example = { emulatedSystems = [ "aarch64-linux" ]; };
      description = "Emulation of other systems.";
    };
    builder = mkOption {
      type = types.submodule {
        options = {
          enable = mkOption { type = types.bool; default = false; description = "Lets the machines in `for` build here; when it is dropped, their access is removed."; };
          for = mkOption { type = types.oneOf [ (types.enum [ "operator" ]) (types.listOf types.str) ]; default = [ ]; description = "Machines of the deployment that build here: the queue runner of a Hydra, or the Nix daemon of another machine. `\"operator\"`, alone or in the list, is the Nix of the host that runs hydra-ops."; };
          systems = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Systems that the machine builds for. Default: the machine's own system, and those in `binfmt.emulatedSystems`."; };
          maxJobs = mkOption { type = types.nullOr types.int; default = null; description = "Number of simultaneous builds. Default: the number of cores."; };
          speedFactor = mkOption { type = types.int; default = 1; description = "Relative speed; the builder with the greater number is preferred."; };
          supportedFeatures = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Features that the machine offers; its own `system-features` get them too. Default: `big-parallel`, `benchmark`, `nixos-test`, and `kvm` where it works."; };
          mandatoryFeatures = mkOption { type = types.listOf types.str; default = [ ]; description = "Features that a build must require to be built here."; };
          sshUser = mkOption { type = types.str; default = "nix-builder"; description = "User for the logins, whom hydra-ops makes, and who can only serve the store."; };
          hostName = mkOption { type = types.nullOr types.str; default = null; description = "Name or address at which the other machines reach this one. Default: `targetHost`, or the name of the machine."; };
          port = mkOption { type = types.int; default = 22; description = "Port of the ssh server, as the other machines reach it."; };
          wrapper = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Command that enters a Nix which `sshUser` has in a home, by nix-user-chroot or PRoot; hydra-ops logs in as this user, and needs no root for it."; };
          cache = mkOption {
            type = types.submodule {
              options = {
                enable = mkOption { type = types.bool; default = false; description = "Lets these machines fetch paths of the store, each signed by a key that the builder makes and keeps."; };
                keyName = mkOption { type = types.nullOr types.str; default = null; description = "Name of the key, which is part of each signature; an existing key is never replaced or renamed. Default: the deployment's name, the machine's name and `-builder-1`."; };
              };
            };
            default = { };
            example = { enable = true; };
            description = "Whether the machines that build here fetch from here too.";
          };
        };
      };
      default = { };
      example = { enable = true; for = [ "ci" ]; };
      description = "A machine that builds for others.";
    };
    healthChecks = checks "Checks at the end of a deploy.";
    preDeployChecks = checks "Checks before the machine is touched.";
    keys = mkOption {
      type = types.attrsOf (types.either types.str key);
      default = { };
      apply = builtins.mapAttrs keyOf;
      description = "Secrets by name.";
    };
    secrets = mkOption {
      type = types.attrsOf (types.submodule {
        options = {
          source = mkOption { type = types.either types.path types.str; };
          destination = mkOption { type = types.str; };
          owner = mkOption {
            type = types.submodule {
              options = {
                user = mkOption { type = types.str; default = "root"; };
                group = mkOption { type = types.str; default = "root"; };
              };
            };
            default = { user = "root"; group = "root"; };
          };
          permissions = mkOption { type = types.str; default = "0400"; };
          action = mkOption { type = types.listOf types.str; default = [ ]; };
          mkDirs = mkOption { type = types.enum [ true ]; default = true; };
          uploadAt = mkOption { type = types.enum [ "pre-activation" "post-activation" ]; default = "pre-activation"; };
        };
      });
      default = { };
      description = "Secrets by name, in Morph's form.";
    };
    aptPackages = debianOption;
    aptProxy = debianOption;
    packages = debianOption;
    files = debianOption;
    units = debianOption;
    activate = debianOption;
  };
}

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
    hydra = mkOption {
      type = types.submodule {
        options = {
          enable = mkOption { type = types.bool; default = false; description = "Sets up Hydra with PostgreSQL, Nix and all its services."; };
          package = mkOption { type = types.nullOr (types.either types.package types.str); default = null; description = "Package of Hydra, a derivation or a store path. Hydra since 2026 is several packages: join hydra-queue-runner, hydra-builder and hydra-evaluator with hydra to one package. Default: nixpkgs' `hydra`, if the network has nixpkgs."; };
          hostName = mkOption { type = types.nullOr types.str; default = null; description = "Host name of Hydra. Default: the machine's name."; };
          url = mkOption { type = types.nullOr types.str; default = null; description = "URL that users open. An https:// URL together with nginx.tls = \"none\" means that a proxy of yours decrypts before the machine. Default: the published port of the machine, or `http(s)://` and the host name."; };
          listenHost = mkOption { type = types.str; default = "127.0.0.1"; description = "Address at which Hydra's own web server listens."; };
          port = mkOption { type = types.int; default = 3000; description = "Port of Hydra's own web server."; };
          queueRunnerPort = mkOption { type = types.int; default = 8080; description = "Port on 127.0.0.1 at which the queue runner tells its status (Hydra since March 2026)."; };
          notificationSender = mkOption { type = types.nullOr types.str; default = null; description = "Sender of Hydra's mails. Default: `\"hydra@HOSTNAME\"`."; };
          smtpHost = mkOption { type = types.nullOr types.str; default = null; description = "Host that takes Hydra's mails. Default: postfix on this machine, if enabled."; };
          useSubstitutes = mkOption { type = types.bool; default = false; description = "Lets Hydra fetch builds from other binary caches instead of building them."; };
          extraConfig = mkOption { type = types.str; default = ""; description = "Further lines of hydra.conf, which replace hydra-ops' own settings of the same name. A store_uri in these lines ends the filling of the static cache. Every user of the machine may read the lines; Include can name a file that holds a secret."; };
          extraEnv = mkOption { type = types.attrsOf types.str; default = { }; description = "Further environment variables of Hydra's services; every user of the machine may read the values."; };
          minimumDiskFree = mkOption { type = types.int; default = 0; description = "GiB; the queue runner is stopped while /nix/store has less free space; 0 means never."; };
          minimumDiskFreeEvaluator = mkOption { type = types.int; default = 0; description = "GiB; the evaluator is stopped while /nix/store has less free space; 0 means never."; };
          sendStats = mkOption { type = types.bool; default = false; description = "Sends statistics of the queue to a statsd on the machine (UDP port 8125)."; };
          logo = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "Logo of the web pages, a picture file on the machine."; };
          tracker = mkOption { type = types.str; default = ""; description = "HTML for the head of every page."; };
          database = mkOption {
            type = types.submodule {
              options = {
                name = mkOption { type = types.str; default = "hydra"; description = "Name of the database, which the role \"hydra\" owns."; };
                identMap = mkOption { type = types.nullOr types.str; default = null; description = "Lines of pg_ident.conf in place of hydra-ops' own lines."; };
                authentication = mkOption { type = types.nullOr types.str; default = null; description = "Line of pg_hba.conf in place of hydra-ops' own, before the general lines."; };
              };
            };
            default = { };
            example = { name = "hydra"; };
            description = "Hydra's database.";
          };
          cache = mkOption {
            type = types.submodule {
              options = {
                enable = mkOption { type = types.bool; default = false; description = "Makes a static, signed binary cache of all paths that Hydra builds."; };
                keyName = mkOption { type = types.nullOr types.str; default = null; description = "Name of the signing key; an existing key is never replaced or renamed. Default: `\"DEPLOYMENT-MACHINE-1\"`."; };
                secretKeyFile = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "File of the secret key on the machine. Default: `\"/etc/nix/MACHINE/secret\"`."; };
                publicKeyFile = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "File of the public key on the machine. Default: `\"/etc/nix/MACHINE/public\"`."; };
                directory = mkOption { type = types.either types.path types.str; default = "/var/lib/hydra/cache"; description = "Folder of the cache on the machine."; };
              };
            };
            default = { };
            example = { enable = true; };
            description = "The static binary cache and the signing key.";
          };
          nixServe = mkOption {
            type = types.submodule {
              options = {
                enable = mkOption { type = types.bool; default = false; description = "Serves the machine's whole Nix store as a signed binary cache."; };
                package = mkOption { type = types.nullOr (types.either types.package types.str); default = null; description = "Package of nix-serve. Default: nixpkgs' `nix-serve`, if the network has nixpkgs."; };
                port = mkOption { type = types.int; default = 5000; description = "Port of nix-serve."; };
                bindAddress = mkOption { type = types.str; default = "127.0.0.1"; description = "Address at which nix-serve listens."; };
              };
            };
            default = { };
            example = { enable = true; };
            description = "Nix-serve.";
          };
          nginx = mkOption {
            type = types.submodule {
              options = {
                enable = mkOption { type = types.bool; default = false; description = "Sets up nginx as a reverse proxy for Hydra and its caches."; };
                hostName = mkOption { type = types.nullOr types.str; default = null; description = "Host name of Hydra's site in nginx. Default: `hostName`."; };
                serverAliases = mkOption { type = types.listOf types.str; default = [ ]; description = "Further host names of Hydra's site."; };
                cacheHostName = mkOption { type = types.nullOr types.str; default = null; description = "Host name at which nginx serves nix-serve, or the static cache if nix-serve is off."; };
                tls = mkOption { type = types.enum [ "none" "self-signed" "files" "acme" ]; default = "none"; description = "Encryption (TLS); \"acme\" gets a certificate from Let's Encrypt, which needs the public internet."; };
                tlsCertificate = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "For tls = \"files\": certificate chain, a file on the machine."; };
                tlsKey = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "For tls = \"files\": private key, a file on the machine."; };
                acmeEmail = mkOption { type = types.nullOr types.str; default = null; description = "For tls = \"acme\": mail address for Let's Encrypt's warnings."; };
              };
            };
            default = { };
            example = { enable = true; };
            description = "The reverse proxy.";
          };
          admin = mkOption {
            type = types.nullOr (types.submodule {
              options = {
                fullName = mkOption { type = types.str; default = ""; description = "Full name on pages and in mails."; };
                emailAddress = mkOption { type = types.str; default = ""; description = "Mail address for notifications."; };
                roles = mkOption { type = types.listOf (types.enum [ "admin" "create-projects" "restart-jobs" "bump-to-front" "cancel-build" "eval-jobset" ]); default = [ "admin" ]; description = "Roles of the user in Hydra."; };
                password = mkOption {
                  type = types.submodule {
                    options = {
                      file = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "File on the operator host with the password."; };
                      command = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Command on the operator host that prints the password."; };
                      prompt = mkOption { type = types.bool; default = false; description = "Asks for the password once, at a deploy."; };
                      generate = mkOption { type = types.bool; default = false; description = "Generates the password, and keeps it beside the deployment's keys."; };
                    };
                  };
                  example = { generate = true; };
                  description = "Source of the password.";
                };
                userName = mkOption { type = types.str; description = "Name of the first user."; };
              };
            });
            default = null;
            example = { userName = "alice"; password = { generate = true; }; };
            description = "The first user.";
          };
          users = mkOption {
            type = types.attrsOf (types.submodule {
              options = {
                fullName = mkOption { type = types.str; default = ""; description = "Full name on pages and in mails."; };
                emailAddress = mkOption { type = types.str; default = ""; description = "Mail address for notifications."; };
                roles = mkOption { type = types.listOf (types.enum [ "admin" "create-projects" "restart-jobs" "bump-to-front" "cancel-build" "eval-jobset" ]); default = [ ]; description = "Roles of the user in Hydra."; };
                password = mkOption {
                  type = types.submodule {
                    options = {
                      file = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "File on the operator host with the password."; };
                      command = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Command on the operator host that prints the password."; };
                      prompt = mkOption { type = types.bool; default = false; description = "Asks for the password once, at a deploy."; };
                      generate = mkOption { type = types.bool; default = false; description = "Generates the password, and keeps it beside the deployment's keys."; };
                    };
                  };
                  example = { generate = true; };
                  description = "Source of the password.";
                };
              };
            });
            default = { };
            example = { bob = { roles = [ "restart-jobs" ]; password = { generate = true; }; }; };
            description = "Further users, by name.";
          };
          postfix = mkOption {
            type = types.submodule {
              options = {
                enable = mkOption { type = types.bool; default = false; description = "Sets up postfix, which takes mail only from this machine and delivers it. An existing mail server stays as it is."; };
              };
            };
            default = { };
            example = { enable = true; };
            description = "Mail of notifications.";
          };
          buildMachines = mkOption {
            type = types.listOf (types.submodule {
              options = {
                hostName = mkOption { type = types.str; description = "Name or address of the builder; the machine itself is only ever \"localhost\"."; };
                systems = mkOption { type = types.listOf types.str; description = "Systems that the builder builds for."; };
                sshUser = mkOption { type = types.nullOr types.str; default = null; description = "User as whom the queue runner logs in."; };
                sshKey = mkOption { type = types.nullOr (types.either types.path types.str); default = null; description = "Private key for that login, a file on the machine."; };
                maxJobs = mkOption { type = types.int; default = 1; description = "Number of simultaneous builds."; };
                speedFactor = mkOption { type = types.int; default = 1; description = "Relative speed; Hydra prefers the builder with the greater number."; };
                supportedFeatures = mkOption { type = types.listOf types.str; default = [ ]; description = "Features that the builder offers."; };
                mandatoryFeatures = mkOption { type = types.listOf types.str; default = [ ]; description = "Features that a build must require to be built there."; };
                publicHostKey = mkOption { type = types.nullOr types.str; default = null; description = "The builder's host key in base64."; };
              };
            });
            default = [ ];
            example = [ { hostName = "localhost"; systems = [ "x86_64-linux" ]; maxJobs = 2; } ];
            description = "Builders; an empty list means the machine itself, with all its systems and features.";
          };
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
          trustedUsers = mkOption { type = types.listOf types.str; default = [ ]; description = "Further users whom the Nix daemon trusts."; };
          openFirewall = mkOption { type = types.bool; default = false; description = "Opens the ports of nginx in ufw or firewalld."; };
          probe = mkOption { type = types.bool; default = true; description = "Proves the Hydra with a build in the project hydra-ops-probe, which is disabled afterwards."; };
        };
      };
      default = { };
      example = { enable = true; };
      description = "A whole Hydra.";
    };
    builder = mkOption {
      type = types.submodule {
        options = {
          enable = mkOption { type = types.bool; default = false; description = "Lets the machines in `for` build here; when it is dropped, their access is taken away again."; };
          for = mkOption { type = types.listOf types.str; default = [ ]; description = "Machines of the deployment that build here: the queue runner of a Hydra, or the Nix daemon of another machine."; };
          systems = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Systems that the machine builds for. Default: the machine's own system."; };
          maxJobs = mkOption { type = types.nullOr types.int; default = null; description = "Number of simultaneous builds. Default: the number of cores."; };
          speedFactor = mkOption { type = types.int; default = 1; description = "Relative speed; the builder with the greater number is preferred."; };
          supportedFeatures = mkOption { type = types.nullOr (types.listOf types.str); default = null; description = "Features that the machine offers; its own `system-features` get them too. Default: `big-parallel`, `benchmark`, `nixos-test`, and `kvm` where it works."; };
          mandatoryFeatures = mkOption { type = types.listOf types.str; default = [ ]; description = "Features that a build must require to be built here."; };
          sshUser = mkOption { type = types.str; default = "nix-builder"; description = "User for the logins, whom hydra-ops makes, and who can only serve the store."; };
          hostName = mkOption { type = types.nullOr types.str; default = null; description = "Name or address at which the other machines reach this one. Default: `targetHost`, or the name of the machine."; };
          port = mkOption { type = types.int; default = 22; description = "Port of the ssh server, as the other machines reach it."; };
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

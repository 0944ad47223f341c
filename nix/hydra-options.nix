# Generated from the schemas of src/core by scripts/options.ts: change the schemas and run it.
{ mkOption, types }:
{
  hydra = mkOption {
    type = types.submodule {
      options = {
        enable = mkOption { type = types.bool; default = false; description = "Sets up Hydra with PostgreSQL, Nix and all its services."; };
        package = mkOption { type = types.nullOr (types.either types.package types.str); default = null; description = "Package of Hydra, a derivation or a store path. Hydra since 2026 is several packages: join hydra-queue-runner, hydra-builder and hydra-evaluator with hydra to one package. Default: nixpkgs' `hydra`, if the network has nixpkgs."; };
        hostName = mkOption { type = types.nullOr types.str; default = null; description = "Host name of Hydra. Default: the machine's name."; };
        url = mkOption { type = types.nullOr types.str; default = null; description = "URL that users open. An https:// URL together with nginx.tls = \"none\" means that a proxy of yours decrypts before the machine. Default: the published port of the machine, or `http(s)://` and the host name."; };
        listenHost = mkOption { type = types.str; default = "127.0.0.1"; description = "Address at which Hydra's own web server listens."; };
        port = mkOption { type = types.int; default = 3000; description = "Port of Hydra's own web server."; };
        queueRunnerPort = mkOption { type = types.int; default = 8080; description = "Port on 127.0.0.1 at which the queue runner reports its status (Hydra since March 2026)."; };
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
              package = mkOption { type = types.nullOr (types.either types.package types.str); default = null; description = "Nix-serve, nix-serve-ng or harmonia. Default: nixpkgs' `nix-serve-ng` or `nix-serve`, if the network has nixpkgs."; };
              port = mkOption { type = types.int; default = 5000; description = "Port of the program."; };
              bindAddress = mkOption { type = types.str; default = "127.0.0.1"; description = "Address of the program."; };
            };
          };
          default = { };
          example = { enable = true; };
          description = "Nix-serve, or a program in its place.";
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
        projects = mkOption {
          type = types.nullOr (types.attrsOf (types.submodule {
            options = {
              displayName = mkOption { type = types.nullOr types.str; default = null; description = "Name of the project on pages. Default: Hydra's current value; the name in a new project."; };
              description = mkOption { type = types.nullOr types.str; default = null; description = "Description of the project. Default: Hydra's current value."; };
              homepage = mkOption { type = types.nullOr types.str; default = null; description = "Home page of the project. Default: Hydra's current value."; };
              owner = mkOption { type = types.nullOr types.str; default = null; description = "User of Hydra who owns the project. Default: Hydra's current value; admin.userName in a new project."; };
              enabled = mkOption { type = types.nullOr types.bool; default = null; description = "Whether Hydra evaluates the jobsets of the project. Default: Hydra's current value; true in a new project."; };
              hidden = mkOption { type = types.nullOr types.bool; default = null; description = "Hides the project on the start page. Default: Hydra's current value; false in a new project."; };
              private = mkOption { type = types.nullOr types.bool; default = null; description = "Shows the project only to users who are signed in. Few versions of Hydra know private projects. Default: Hydra's current value."; };
              declarative = mkOption {
                type = types.nullOr (types.submodule {
                  options = {
                    file = mkOption { type = types.str; description = "File that describes the jobsets."; };
                    type = mkOption { type = types.enum [ "path" "git" "string" "boolean" "nix" "build" "sysbuild" "eval" "hg" "svn" "svn-checkout" "bzr" "bzr-checkout" "darcs" "bitbucketpulls" "githubpulls" "gitlabpulls" "github_refs" ]; description = "Type of the input that holds the file."; };
                    value = mkOption { type = types.str; description = "Value of that input."; };
                  };
                });
                default = null;
                example = { file = "hydra/spec.json"; type = "git"; value = "https://git.example.org/network.git main"; };
                description = "Source of the jobsets, which Hydra itself then keeps; excludes jobsets.";
              };
              jobsets = mkOption {
                type = types.attrsOf (types.submodule {
                  options = {
                    enabled = mkOption { type = types.nullOr (types.oneOf [ types.bool (types.enum [ "one-shot" "one-at-a-time" ]) ]); default = null; description = "Whether Hydra evaluates the jobset; \"one-shot\" evaluates the jobset once, \"one-at-a-time\" waits for the builds of the last evaluation. Default: Hydra's current value; true in a new jobset."; };
                    hidden = mkOption { type = types.nullOr types.bool; default = null; description = "Hides the jobset in the lists of users. Default: Hydra's current value; false in a new jobset."; };
                    description = mkOption { type = types.nullOr types.str; default = null; description = "Description of the jobset. Default: Hydra's current value."; };
                    nixExpression = mkOption {
                      type = types.nullOr (types.submodule {
                        options = {
                          input = mkOption { type = types.str; description = "Input that holds the expression."; };
                          path = mkOption { type = types.str; description = "File of the expression in that input."; };
                        };
                      });
                      default = null;
                      example = { input = "network"; path = "hydra/default.nix"; };
                      description = "Expression with the jobs; this option or flake is required.";
                    };
                    flake = mkOption { type = types.nullOr types.str; default = null; description = "Flake with the jobs (`hydraJobs`), in place of nixExpression."; };
                    checkInterval = mkOption { type = types.nullOr types.int; default = null; description = "Seconds between two looks at the inputs; 0 means only on request. Default: Hydra's current value; 300 in a new jobset."; };
                    schedulingShares = mkOption { type = types.nullOr types.int; default = null; description = "Share of the builders, relative to the other jobsets. Default: Hydra's current value; 100 in a new jobset."; };
                    keepEvaluations = mkOption { type = types.nullOr types.int; default = null; description = "Number of evaluations whose builds are kept. Default: Hydra's current value; 3 in a new jobset."; };
                    emailOverride = mkOption { type = types.nullOr types.str; default = null; description = "Mail addresses for notifications, in place of those of the maintainers. Default: Hydra's current value."; };
                    notifyOnError = mkOption { type = types.nullOr types.bool; default = null; description = "Sends mail about failed builds. Default: Hydra's current value; false in a new jobset."; };
                    inputs = mkOption {
                      type = types.nullOr (types.attrsOf (types.submodule {
                        options = {
                          type = mkOption { type = types.enum [ "path" "git" "string" "boolean" "nix" "build" "sysbuild" "eval" "hg" "svn" "svn-checkout" "bzr" "bzr-checkout" "darcs" "bitbucketpulls" "githubpulls" "gitlabpulls" "github_refs" ]; description = "Type of the input."; };
                          value = mkOption { type = types.str; description = "Value of the input, in the form of its type: URL and branch for git, a folder for path, `true` or `false` for boolean."; };
                          emailResponsible = mkOption { type = types.bool; default = false; description = "Sends mail about failed builds to the authors of new commits too."; };
                        };
                      }));
                      default = null;
                      example = { network = { type = "git"; value = "https://git.example.org/network.git main"; }; };
                      description = "All inputs of the jobset, by name; Hydra loses any other input. Default: Hydra's present inputs.";
                    };
                  };
                });
                default = { };
                example = { main = { nixExpression = { input = "network"; path = "hydra/default.nix"; }; }; };
                description = "Jobsets of the project, by name.";
              };
            };
          }));
          default = null;
          example = { fleet = { displayName = "The fleet"; }; };
          description = "Projects with their jobsets, by name. An option that is not set keeps the value that Hydra has. `{ }` removes the last project (deploy --prune).";
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
}

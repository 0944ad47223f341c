# Turns `deployment.hydra.*` and `deployment.nix.*` of a NixOS machine into options of NixOS.
#
# Single values have the priority of mkDefault, so a definition of the user wins. Lists and lines join the definitions
# of the user and of nixpkgs at the ordinary priority. nixpkgs' own Hydra defines the same lists, and weaker lists would
# otherwise be dropped.
#
# The names of options depend on the machine's nixpkgs, from 17.03 to today. Only the set `options` may decide the
# names: a decision by `config` would recurse infinitely.
{ config, lib, options, pkgs, ... }:
let
  inherit (builtins) concatStringsSep elem filter isString match split;
  inherit (lib) hasAttrByPath mkAfter mkDefault mkIf mkMerge optional optionalAttrs optionals setAttrByPath;
  cfg = config.deployment.hydra;
  nix = config.deployment.nix;
  has = path: hasAttrByPath path options;
  weak = mkDefault;
  orElse = value: default: if value == null then default else value;
  some = value: definition: mkIf (value != null) definition;

  # --- values that follow from several options -----------------------------------------------------------------

  machine = config.deployment.machine;
  hostName = orElse cfg.hostName machine;
  siteName = orElse cfg.nginx.hostName hostName;
  encrypted = cfg.nginx.enable && cfg.nginx.tls != "none";
  url =
    let
      scheme = if encrypted then "https" else "http";
      host = if cfg.nginx.enable then siteName else "${hostName}:${toString cfg.port}";
      given = orElse cfg.url "${scheme}://${host}";
      bare = match "(.*)/" given;
    in
    if bare == null then given else builtins.head bare;
  decryptedBefore = ! encrypted && match "https:.*" url != null;
  signs = cfg.cache.enable || cfg.nixServe.enable;
  secretKeyFile = toString (orElse cfg.cache.secretKeyFile "/etc/nix/${machine}/secret");
  reachedAt = address: if elem address [ "0.0.0.0" "::" ] then "127.0.0.1" else if match ".*:.*" address != null then "[${address}]" else address;

  # Lines of a text in the format of hydra.conf, and the lines that set a given option.
  linesOf = text: filter isString (split "\n" text);
  linesOfOption = name: text: filter (line: match "[ \t]*${name}[ \t=].*" line != null) (linesOf text);
  theirs = name: linesOfOption name cfg.extraConfig != [ ];
  # Newer Hydras have a program that sends the log of a running build to the browser.
  hasLiveLogs = has [ "services" "hydra" "ws" "enable" ] && cfg.nginx.enable;
  liveLogs = config.services.hydra.ws;
  ownLines =
    optional (hasLiveLogs && liveLogs.enable && ! theirs "ws_endpoint") "ws_endpoint = ws${builtins.substring 4 (builtins.stringLength url) url}/hydra-ws" ++
    optional (cfg.cache.enable && ! theirs "store_uri") "store_uri = file://${cfg.cache.directory}?secret-key=${secretKeyFile}"
    ++ optional (signs && ! theirs "binary_cache_secret_key_file") "binary_cache_secret_key_file = ${secretKeyFile}";

  # --- names of different releases -----------------------------------------------------------------------------

  hasSettings = has [ "nix" "settings" ];
  textOf = value: if value == true then "true" else if value == false then "false" else toString value;
  # Defines a setting of nix.conf; `old` is its option before 22.05, or null.
  nixConf = old: new: value:
    if hasSettings then { nix.settings.${new} = value; }
    else if old != null && has [ "nix" old ] then { nix.${old} = value; }
    else { nix.extraOptions = "${new} = ${textOf (value.content or value)}\n"; };

  # Hydra since 2026 has its own builders, and ignores lists of machines.
  hasBuilders = has [ "services" "hydra-builder" ];
  hasMachines = has [ "services" "hydra" "buildMachinesFiles" ] && ! has [ "services" "hydra" "dbUrl" ];

  subOptions = option: option.type.getSubOptions [ ];
  inLocation = (subOptions ((subOptions options.services.nginx.virtualHosts).locations));

  # --- parts ---------------------------------------------------------------------------------------------------

  hydra = {
    services.hydra = mkMerge [
      {
        enable = weak true;
        hydraURL = weak url;
        notificationSender = weak (orElse cfg.notificationSender "hydra@${hostName}");
        listenHost = weak cfg.listenHost;
        port = weak cfg.port;
        useSubstitutes = weak cfg.useSubstitutes;
        minimumDiskFree = weak cfg.minimumDiskFree;
        minimumDiskFreeEvaluator = weak cfg.minimumDiskFreeEvaluator;
        smtpHost = weak (orElse cfg.smtpHost (if cfg.postfix.enable then "127.0.0.1" else null));
        extraEnv = weak cfg.extraEnv;
        extraConfig = concatStringsSep "" (map (line: "${line}\n") ownLines) + cfg.extraConfig;
      }
      (some cfg.package { package = weak cfg.package; })
      (some cfg.logo { logo = weak cfg.logo; })
      (mkIf (cfg.tracker != "") { tracker = weak cfg.tracker; })
    ];
  };

  # The list of builders is a separate file, never /etc/nix/machines. The Nix daemon would otherwise send its own
  # builds to localhost, and wait for itself. The name stays `localhost`, which newer modules of nix.buildMachines
  # would turn into ssh://localhost.
  list = values: if values == [ ] then "-" else concatStringsSep "," values;
  builderLine = each:
    let local = each.hostName == "localhost"; in
    concatStringsSep " " [
      (if each.sshUser == null || local then each.hostName else "${each.sshUser}@${each.hostName}")
      (list each.systems)
      (if each.sshKey == null then "-" else toString each.sshKey)
      (toString each.maxJobs)
      (toString each.speedFactor)
      (list (each.supportedFeatures ++ each.mandatoryFeatures))
      (list each.mandatoryFeatures)
      (if each.publicHostKey == null then "-" else each.publicHostKey)
    ];
  builders =
    if hasBuilders then { services.hydra-builder = { enable = weak true; queueRunnerAddr = weak "http://[::1]:50051"; }; }
    else if ! hasMachines then { }
    else mkMerge [
      (mkIf (cfg.buildMachines != [ ]) {
        environment.etc."hydra/machines".text = concatStringsSep "" (map (each: "${builderLine each}\n") cfg.buildMachines);
        services.hydra.buildMachinesFiles = weak [ "/etc/hydra/machines" taskList ];
      })
      # A Hydra without a list of its own builds on its own machine, and reads no other list.
      {
        warnings = optional (config.deployment.usesBuilders && ! elem taskList config.services.hydra.buildMachinesFiles)
          "deployment.builder.for: the queue runner reads ${taskList} only beside a list of its own; name the machine itself: deployment.hydra.buildMachines = [ { hostName = \"localhost\"; systems = [ \"x86_64-linux\" ]; maxJobs = 2; } ];";
      }
    ];
  # A set-up task writes this list of builders, which may be missing.
  taskList = "/etc/hydra/builders";

  # The ident map has another name in newer releases. The lines of nixpkgs therefore stay, and the user's lines are
  # added.
  postgresql.services.postgresql = mkMerge [
    { enable = weak true; }
    (some cfg.database.identMap { identMap = cfg.database.identMap; })
    (some cfg.database.authentication { authentication = lib.mkBefore cfg.database.authentication; })
  ];

  # A set-up task generates the key after the first activation. Until then the services wait for the key, and do not
  # fail.
  keyed = name: {
    systemd.services.${name}.unitConfig.ConditionPathExists = weak secretKeyFile;
    systemd.paths.${name} = {
      wantedBy = [ "multi-user.target" ];
      pathConfig.PathChanged = weak secretKeyFile;
    };
  };
  cache = mkMerge [
    (mkIf signs (keyed "hydra-queue-runner"))
    (mkIf cfg.cache.enable {
      systemd.tmpfiles.rules = [ "d ${cfg.cache.directory} 0755 hydra-queue-runner hydra -" ];
    })
    # hydra-init closes Hydra's folder to nginx at each start, and the cache lies in this folder by default.
    (mkIf (cfg.cache.enable && cfg.nginx.enable && config.services.hydra.enable && match "/var/lib/hydra/.*" cfg.cache.directory != null) {
      systemd.services.hydra-init.preStart = mkAfter "chmod 0751 /var/lib/hydra\n";
    })
    (mkIf cfg.nixServe.enable (
      if hasHarmonia then mkMerge [ (mkIf isHarmonia harmonia) (mkIf (! isHarmonia) nixServe) ]
      else mkMerge [ nixServe { assertions = [ { assertion = ! isHarmonia; message = "deployment.hydra.nixServe.package is harmonia, and this nixpkgs has no services.harmonia; use pkgs.nix-serve-ng or pkgs.nix-serve."; } ]; } ]
    ))
  ];

  nixServe = mkMerge [
    (keyed "nix-serve")
    {
      systemd.services.nix-serve.serviceConfig.SupplementaryGroups = weak "hydra";
      # nix-serve called `nix dump-path` from 2020 to 2024. Otherwise a Nix without nix-command makes every NAR empty.
      systemd.services.nix-serve.environment.NIX_CONFIG = weak "extra-experimental-features = nix-command";
      services.nix-serve = {
        enable = weak true;
        port = weak cfg.nixServe.port;
        bindAddress = weak cfg.nixServe.bindAddress;
        secretKeyFile = weak secretKeyFile;
      } // optionalAttrs (has [ "services" "nix-serve" "package" ]) (
        if cfg.nixServe.package != null then { package = weak cfg.nixServe.package; }
        else optionalAttrs (pkgs ? nix-serve-ng) { package = weak pkgs.nix-serve-ng; }
      );
    }
  ];

  # harmonia has its own module. The package's name selects the module, so that an evaluation need not inspect the
  # package.
  nameOf = package: if isString package then orElse (match "/nix/store/[^-]*-(.*)" package) [ "" ] else [ (package.name or "") ];
  isHarmonia = cfg.nixServe.package != null && match "harmonia.*" (builtins.head (nameOf cfg.nixServe.package)) != null;
  hasHarmonia = has [ "services" "harmonia" "enable" ] || has [ "services" "harmonia" "cache" "enable" ];
  harmoniaAt = [ "services" "harmonia" ] ++ optional (has [ "services" "harmonia" "cache" "enable" ]) "cache";
  harmonia = mkMerge [
    (keyed "harmonia")
    { services.harmonia.package = weak cfg.nixServe.package; }
    (setAttrByPath harmoniaAt ({
      enable = weak true;
      settings.bind = weak "${if match ".*:.*" cfg.nixServe.bindAddress != null then "[${cfg.nixServe.bindAddress}]" else cfg.nixServe.bindAddress}:${toString cfg.nixServe.port}";
    } // (if has (harmoniaAt ++ [ "signKeyPaths" ]) then { signKeyPaths = weak [ secretKeyFile ]; } else { signKeyPath = weak secretKeyFile; })))
  ];

  # `$http_host` is needed because `$host` drops a published port, and Hydra would then refuse the login. nixpkgs
  # checks the configuration with gixy since 19.09, and gixy refuses `Host $http_host` and expressions for
  # `$http_origin` (tried). Both values are therefore copied to separate variables.
  proxyLines = scheme: ''
    set $hydra_ops_host $http_host;
    proxy_set_header Host $hydra_ops_host;
    proxy_set_header X-Real-IP $remote_addr;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto ${scheme};
  '';
  proxied = address: port: scheme: {
    proxyPass = weak "http://${reachedAt address}:${toString port}";
    extraConfig = weak (proxyLines scheme);
    # Newer releases would otherwise add the same headers with `$host`.
  } // optionalAttrs (inLocation ? recommendedProxySettings) { recommendedProxySettings = weak false; };
  cacheFiles = place: ''
    ${place}
    types { text/x-nix-narinfo narinfo; application/x-nix-nar nar xz zst bz2; }
    default_type application/octet-stream;
    expires 1d;
  '';
  tls = {
    none = { };
    self-signed = { };
    files = {
      forceSSL = weak true;
      sslCertificate = weak (toString cfg.nginx.tlsCertificate);
      sslCertificateKey = weak (toString cfg.nginx.tlsKey);
    };
    acme = { forceSSL = weak true; enableACME = weak true; };
  }.${cfg.nginx.tls};
  base = if encrypted then "https://$http_host" else if decryptedBefore then url else null;
  toHydra = proxied cfg.listenHost cfg.port (if decryptedBefore then "https" else "$scheme");
  linesToHydra = proxyLines (if decryptedBefore then "https" else "$scheme")
    + (if base == null then "" else "proxy_set_header X-Request-Base ${base};\n");

  # hydra-ws requires no login, and accepts requests from pages of every site. nginx therefore refuses pages of other
  # sites, and asks Hydra whether the visitor has access.
  ownOrigins =
    let
      urlHost = builtins.head (orElse (match "https?://(\\[[^]]*]|[^/:]*).*" url) [ siteName ]);
      names = [ siteName ] ++ cfg.nginx.serverAliases ++ [ urlHost "localhost" ];
      escaped = builtins.replaceStrings [ "." "[" "]" ] [ "\\." "\\[" "\\]" ];
    in
    "^(https?://(${concatStringsSep "|" (map escaped names)})(:[0-9]+)?)?$";
  hidesProjects = lib.any (project: project.private == true) (builtins.attrValues (orElse cfg.projects { }));
  visitorPath = "/.hydra-ops-visitor";
  nginx = mkIf cfg.nginx.enable (mkMerge [
    {
      services.nginx.enable = weak true;
      services.nginx.virtualHosts.${siteName} = {
        serverAliases = weak (cfg.nginx.serverAliases ++ optional (siteName != "localhost") "localhost");
        extraConfig = weak "client_max_body_size 100m;\n";
        locations = {
          "/" = toHydra // { extraConfig = weak (linesToHydra + "proxy_read_timeout 120s;\n"); };
        } // optionalAttrs hasLiveLogs {
          "= /hydra-ws" = {
            proxyPass = weak "http://${liveLogs.bind.address}:${toString liveLogs.bind.port}";
            extraConfig = weak ''
              set $hydra_ops_origin $http_origin;
              if ($hydra_ops_origin !~* "${ownOrigins}") { return 403; }
              auth_request ${visitorPath};
              proxy_http_version 1.1;
              proxy_set_header Upgrade $http_upgrade;
              proxy_set_header Connection upgrade;
              proxy_read_timeout 1h;
            '';
          } // optionalAttrs (inLocation ? recommendedProxySettings) { recommendedProxySettings = weak false; };
          "= ${visitorPath}" = toHydra // {
            proxyPass = weak "http://${reachedAt cfg.listenHost}:${toString cfg.port}${if hidesProjects then "/current-user" else "/"}";
            extraConfig = weak (linesToHydra + ''
              internal;
              proxy_set_header Accept application/json;
              proxy_set_header Content-Length "";
              proxy_pass_request_body off;
            '');
          };
        } // optionalAttrs cfg.cache.enable {
          "/static-cache/".extraConfig = weak (cacheFiles "alias ${cfg.cache.directory}/;");
        };
      } // tls;
    }
    (mkIf (cfg.nginx.cacheHostName != null && signs) {
      services.nginx.virtualHosts.${orElse cfg.nginx.cacheHostName "cache"}.locations."/" =
        if cfg.nixServe.enable then proxied cfg.nixServe.bindAddress cfg.nixServe.port "$scheme"
        else { extraConfig = weak (cacheFiles "root ${cfg.cache.directory};"); };
    })
    (mkIf (cfg.nginx.tls == "acme") (
      optionalAttrs (has [ "security" "acme" "acceptTerms" ]) { security.acme.acceptTerms = weak true; }
      // (if has [ "security" "acme" "defaults" ] then { security.acme.defaults.email = weak cfg.nginx.acmeEmail; }
        else optionalAttrs (has [ "security" "acme" "email" ]) { security.acme.email = weak cfg.nginx.acmeEmail; })
    ))
    (mkIf cfg.openFirewall { networking.firewall.allowedTCPPorts = [ 80 ] ++ optional encrypted 443; })
  ]);

  # Postfix accepts mail only from this machine.
  postfix = mkIf cfg.postfix.enable {
    services.postfix = { enable = weak true; } // (
      if has [ "services" "postfix" "settings" ] then { settings.main.inet_interfaces = weak "loopback-only"; }
      else if has [ "services" "postfix" "config" ] then { config.inet_interfaces = weak "loopback-only"; }
      else { extraConfig = "inet_interfaces = loopback-only\n"; }
    );
  };

  # nixpkgs trusts only root if the list has no definition. Hydra's own definition then drops root in older releases.
  trusted = nix.trustedUsers ++ optionals cfg.enable cfg.trustedUsers;
  gc = if cfg.enable && cfg.gc.automatic then cfg.gc else nix.gc;
  ofNix = mkMerge [
    (mkIf (trusted != [ ] || cfg.enable) (nixConf "trustedUsers" "trusted-users" ([ "root" ] ++ trusted)))
    (mkIf (nix.substituters != [ ]) (nixConf "binaryCaches" "substituters" (weak nix.substituters)))
    (mkIf (nix.trustedPublicKeys != [ ]) (nixConf "binaryCachePublicKeys" "trusted-public-keys" nix.trustedPublicKeys))
    (mkIf (nix.allowedUris != [ ]) (nixConf null "allowed-uris" nix.allowedUris))
    (mkIf (nix.autoOptimiseStore || (cfg.enable && cfg.autoOptimiseStore)) (nixConf "autoOptimiseStore" "auto-optimise-store" (weak true)))
    (mkIf (nix.extraOptions != "") { nix.extraOptions = nix.extraOptions; })
    (mkIf gc.automatic { nix.gc = { automatic = weak true; dates = weak gc.dates; options = weak gc.options; }; })
  ];
in
{
  config = mkMerge [
    ofNix
    (mkIf cfg.enable (mkMerge [ hydra builders postgresql cache nginx postfix ]))
  ];
}

# Lets a NixOS machine update itself to the newest green build of its jobset (`deployment.autoUpdate`). A timer starts a
# service, which runs the program of target/auto-update. A set-up task writes the same program on Debian.
#
# The program activates a system with the scripts of a deploy (target/nixos). All programs that it runs are in the
# store, so the machine needs no perl or curl on its PATH.
{ config, lib, options, pkgs, ... }:
let
  inherit (builtins) concatStringsSep elemAt filter fromJSON isAttrs isList isString mapAttrs match readFile removeAttrs split toJSON;
  inherit (lib) mkDefault mkIf;
  cfg = config.deployment.autoUpdate;
  source = config.deployment.hydraSource;
  network = config.deployment.networkHydra;
  orElse = value: default: if value == null then default else value;
  # The options of the machine take precedence over the options of the network.
  ofJobset = name: orElse cfg.${name} (orElse source.${name} (network.${name} or null));
  url = ofJobset "url";
  isWanted = cfg.enable && url != null && ofJobset "project" != null && ofJobset "jobset" != null;

  # --- texts -------------------------------------------------------------------------------------------------

  target = ../../target;
  # Comments are removed, so that a changed comment does not change a system.
  textOf = path: concatStringsSep "\n" (filter (line: isString line && match "[ \t]*#.*" line == null) (split "\n" (readFile (target + path))));
  program = pkgs.writeText "hydra-ops-auto-update.pl" (concatStringsSep ""
    (map (name: textOf "/auto-update/${name}.pl") [ "machine" "hydra" "health" "login" "verdict" "boot" "nixos" "main" ]));
  shared = folder: name: textOf "/lib.sh" + textOf "/${folder}/lib.sh" + textOf "/${folder}/${name}.sh";

  # --- the configuration -------------------------------------------------------------------------------------

  secondsIn = { w = 604800; d = 86400; h = 3600; m = 60; s = 1; };
  seconds = age:
    let parts = match "([0-9]+)([wdhms])" age; in
    fromJSON (elemAt parts 0) * secondsIn.${elemAt parts 1};
  # Old releases of NixOS leave the module system's own `_module` in each set of options.
  plain = value:
    if isList value then map plain value
    else if isAttrs value then mapAttrs (_: plain) (removeAttrs value [ "_module" ])
    else value;

  ssh = config.services.openssh;
  user = orElse config.deployment.targetUser "root";
  home = if config.users.users ? ${user} then config.users.users.${user}.home else if user == "root" then "/root" else "/home/${user}";
  reachable = address: if address == "0.0.0.0" then "127.0.0.1" else if address == "::" then "::1" else address;
  portOf = listen: orElse (listen.port or null) (builtins.head ssh.ports);
  listens =
    if (ssh.listenAddresses or [ ]) == [ ] then map (port: { address = "127.0.0.1"; inherit port; }) ssh.ports
    else map (listen: { address = reachable listen.addr; port = portOf listen; }) ssh.listenAddresses;

  configuration = {
    url = let bare = match "(.*[^/])/+" url; in if bare == null then url else builtins.head bare;
    project = ofJobset "project";
    jobset = ofJobset "jobset";
    job = orElse cfg.job (orElse source.job config.deployment.machine);
    gate = orElse (ofJobset "gate") "release";
    healthChecks = plain (orElse cfg.healthChecks config.deployment.healthChecks);
    owner = config.deployment.uuid;
    state = "/var/lib/hydra-ops/auto-update";
    lock = "/run/hydra-ops/auto-update.lock";
    machineLock = "/run/hydra-ops/set-up-by";
    staleSeconds = 7200;
    ownerFile = "/var/lib/hydra-ops/owner";
    roots = "/nix/var/nix/gcroots/hydra-ops";
    logs = "/var/log/hydra-ops";
    runs = "/var/lib/hydra-ops/activations";
    profile = "/nix/var/nix/profiles/system";
    pending = "/var/lib/hydra-ops/boot-menu-pending";
    awaits = "/var/lib/hydra-ops/awaits-boot";
    once = "/var/lib/hydra-ops/boot-once";
    onceProfile = "/nix/var/nix/profiles/system-profiles/hydra_ops";
    askSeconds = 60;
    fetchSeconds = 14400;
    activationSeconds = 3600;
    inherit (cfg) allowReboot;
    # The proof of a login can take a long time after a boot.
    fallbackSeconds = 600;
    # Seconds as in a deploy, but longer where the proof of a login or a slow Hydra needs more time.
    times = { activation = 900; confirm = 180; watch = 15; watchLonger = 30; sample = 3; attempt = 300; pause = 5; };
    ssh = {
      inherit listens;
      authorizedKeys = [ "/etc/ssh/authorized_keys.d/${user}" "${home}/.ssh/authorized_keys" ];
      seconds = 90;
      pause = 10;
    };
    scripts = {
      take = shared "machine-lock" "take";
      release = shared "machine-lock" "release";
      begin = shared "nixos" "begin";
      follow = shared "nixos" "follow";
      confirm = shared "nixos" "confirm";
      undo = shared "nixos" "undo";
      keepStart = shared "nixos" "start-keep";
      finish = shared "nixos" "finish";
      bootCheck = shared "nixos" "boot-check";
      bootStart = shared "nixos" "boot-start";
      bootConfirm = shared "nixos" "boot-confirm";
      bootForget = shared "nixos" "boot-forget";
    };
    placed = {
      arm = textOf "/nixos/arm.sh";
      guard = textOf "/nixos/guard.sh";
      switch = textOf "/nixos/switch.sh";
      keep = textOf "/nixos/keep.sh";
      fallback = textOf "/nixos/fallback.sh";
      prepare = shared "nixos" "boot-prepare";
    };
  } // (if cfg.maxAge == null then { } else { maxAge = seconds cfg.maxAge; });
  configurationFile = pkgs.writeText "hydra-ops-auto-update.json" (toJSON configuration);

  programs = [
    pkgs.bash pkgs.coreutils pkgs.findutils pkgs.gnugrep pkgs.gnused pkgs.curl pkgs.openssh
    # nixpkgs before 2020 has another name for the package.
    (pkgs.util-linux or pkgs.utillinux)
    config.nix.package
    config.systemd.package
  ];
in
{
  config = mkIf isWanted {
    assertions = [
      {
        assertion = ! (config.system.autoUpgrade.enable or false);
        message = "deployment.autoUpdate and system.autoUpgrade both replace the system of this machine; leave one of them out.";
      }
    ];
    # An update reads the health checks of the system that it activates.
    environment.etc."hydra-ops/auto-update.json".source = configurationFile;
    systemd.services.hydra-ops-auto-update = {
      description = "Automatic update from Hydra";
      wants = [ "network-online.target" ];
      after = [ "network-online.target" "time-sync.target" ];
      path = programs;
      environment = {
        HOME = "/root";
        LC_ALL = mkDefault "C.UTF-8";
        SSL_CERT_FILE = mkDefault "/etc/ssl/certs/ca-certificates.crt";
      } // (config.networking.proxy.envVars or { });
      serviceConfig = {
        Type = "oneshot";
        ExecStart = "${pkgs.perl}/bin/perl ${program} ${configurationFile}";
      };
      # This service switches the system, so the switch must neither stop nor start the service.
      restartIfChanged = false;
      unitConfig.X-StopOnRemoval = false;
    };
    systemd.timers.hydra-ops-auto-update = {
      description = "Automatic update from Hydra";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        OnCalendar = mkDefault cfg.dates;
        Persistent = mkDefault true;
        # The delay keeps the machines of a network, and their Hydra, from updating at the same moment.
        RandomizedDelaySec = mkDefault "15min";
      };
    };
    # The update of the new system confirms its boot, before the fallback reboots. This timer has no random delay.
    systemd.timers.hydra-ops-auto-update-boot = mkIf cfg.allowReboot {
      description = "Automatic update from Hydra after a boot";
      wantedBy = [ "timers.target" ];
      timerConfig = {
        Unit = "hydra-ops-auto-update.service";
        OnBootSec = mkDefault 60;
      };
    };
  };
}

# Finds definitions in the user's files that evaluate but do not do what their author wants.
#
# Returns [ { trap; option; files; values; } ]; nix/nixos-traps.ts turns each trap into a sentence.
{ config, options, located, isUsers }:
let
  inherit (builtins) any concatMap elem filter head isList isString length map match tail;
  has = path: set: path == [ ] || (set ? ${head path} && has (tail path) set.${head path});
  get = path: set: if path == [ ] then set else get (tail path) set.${head path};
  unique = builtins.foldl' (seen: each: if elem each seen then seen else seen ++ [ each ]) [ ];

  # Returns the user's files that define an option.
  filesOf = path: unique (filter isUsers (map (def: toString def.file) (located (get path options))));
  trap = name: option: values: [ { trap = name; inherit option values; files = filesOf option; } ];
  onlyIf = condition: found: if condition then found else [ ];

  words = text: filter (part: isString part && part != "") (builtins.split "[ \t]+" text);
  looksLikeCron = text: isString text && (length (words text) > 4 || match "@[a-zA-Z].*" text != null);
  linesOf = text: filter (line: isString line && line != "") (builtins.split "\n" text);

  timer = option: enabled: onlyIf (has option options && enabled) (
    let value = get option config; dates = filter looksLikeCron (if isList value then value else [ value ]); in
    onlyIf (dates != [ ] && filesOf option != [ ]) (trap "cron" option dates)
  );

  hydra = config.services.hydra.enable or false;
  machines = config.nix.buildMachines or [ ];
  isLocal = each: (each.hostName or "") == "localhost";
  readsMachines = any (file: toString file == "/etc/nix/machines") (config.services.hydra.buildMachinesFiles or [ ]);
  needsBuilders = has [ "services" "hydra" "dbUrl" ] options;

  trusted = if options.nix ? settings then [ "nix" "settings" "trusted-users" ] else [ "nix" "trustedUsers" ];
  # `nix.settings` is a single option, and the old name of the list is a separate option.
  trustedFiles = unique (
    onlyIf (options.nix ? settings) (concatMap
      (def: onlyIf (builtins.isAttrs def.value && def.value ? trusted-users && isUsers (toString def.file)) [ (toString def.file) ])
      (located options.nix.settings))
    ++ onlyIf (options.nix ? trustedUsers) (filesOf [ "nix" "trustedUsers" ])
  );
  trustedUsers = if has trusted config then get trusted config else [ "root" ];

  # hydra-init logs in to the database as `postgres` since 20.09. A user's line that matches this login must map the
  # name.
  authentication = [ "services" "postgresql" "authentication" ];
  catches = line: match "[ \t]*local[ \t]+(hydra|all)[ \t]+(all|postgres)[ \t]+(ident|peer)[ \t]+map=([^ \t]+).*" line;
  ofUser = concatMap (def: if isUsers (toString def.file) then linesOf def.value else [ ]) (located (get authentication options));
  identMap = linesOf config.services.postgresql.identMap;
  maps = map': any (line: let found = words line; in length found == 3 && head found == map' && builtins.elemAt found 1 == "postgres") identMap;
  needsSuperuser = any (line: match "[^#]*[ \t]postgres[ \t]+postgres[ \t]*" line != null) identMap;
  catching = filter (line: let found = catches line; in found != null && ! maps (builtins.elemAt found 3)) ofUser;

  # The first line for Hydra's database decides. A line without a map admits only the Unix user of the role's name.
  forHydra = filter
    (line: match "[ \t]*local[ \t]+(hydra|all)[ \t]+(hydra|all)[ \t]+.*" line != null)
    (linesOf (config.services.postgresql.authentication or ""));
  withoutMap = forHydra != [ ] && match ".*[ \t](ident|peer)[ \t]*" (head forHydra) != null;
in
timer [ "nix" "gc" "dates" ] config.nix.gc.automatic
++ timer [ "nix" "optimise" "dates" ] (config.nix.optimise.automatic or false)
++ onlyIf (hydra && readsMachines && any (each: isLocal each && (each.protocol or null) != null) machines)
  (trap "localhost" [ "nix" "buildMachines" ] [ ])
++ onlyIf (! elem "root" trustedUsers && trustedFiles != [ ])
  [ { trap = "root"; option = trusted; values = [ ]; files = trustedFiles; } ]
++ onlyIf (hydra && needsSuperuser && catching != [ ]) (trap "ident" authentication [ (head catching) (builtins.elemAt (catches (head catching)) 3) ])
++ onlyIf (hydra && config.services.postgresql.enable && withoutMap && filesOf authentication != [ ])
  (trap "no-map" authentication [ (head forHydra) ])
++ onlyIf (hydra && needsBuilders && machines != [ ]) (trap "machines" [ "nix" "buildMachines" ] [ ])
++ onlyIf (hydra && needsBuilders && config.deployment.hydra.buildMachines != [ ]) (trap "machines" [ "deployment" "hydra" ] [ ])
++ onlyIf (hydra && needsBuilders && ! (config.services.hydra-builder.enable or false)) (trap "no-builder" [ "services" "hydra" "enable" ] [ ])

# Shows an option of a NixOS machine as data: its value, and the definitions that apply, with their files.
{ merge, located, optionDefault }:
let
  inherit (builtins) attrNames concatMap deepSeq elem head isAttrs isFunction isList length map mapAttrs removeAttrs seq tail toString tryEval;
  inherit (merge) isDerivation plain;

  isOption = value: isAttrs value && (value._type or null) == "option";

  # Names of options whose value is a secret, in any set.
  secretNames = [ "hashedPassword" "initialHashedPassword" "initialPassword" "passphrase" "password" ];
  # Options of a key with public values.
  publicOfKeys = [ "destDir" "group" "name" "path" "permissions" "uploadAt" "user" ];
  isSecret = path:
    let last = builtins.elemAt path (length path - 1); in
    path != [ ] && (
      elem last secretNames
      || (length path >= 3 && head path == "deployment" && head (tail path) == "keys" && ! elem last publicOfKeys)
    );

  # Converts a value to finite data. Deep sets, functions and packages become short names, and a failing part
  # becomes `<error>`.
  shown = depth: path: value:
    let attempt = tryEval (seq value value); in
    if ! attempt.success then "<error>"
    else if isAttrs value && ! isDerivation value && ! (value ? _type || value ? __functor || value ? outPath) then
      if depth == 0 then "<set>" else mapAttrs (name: shown (depth - 1) (path ++ [ name ])) (removeAttrs value [ "_module" ])
    else if isList value then map (shown depth path) value
    else if value != null && isSecret path then "<secret>"
    else if isFunction value || (isAttrs value && value ? __functor) then "<function>"
    else if isDerivation value then "<package ${value.name or "without a name"}>"
    else if isAttrs value && value ? outPath then plain (toString value.outPath)
    else if isAttrs value then "<${value._type}>"
    else plain value;

  # Returns the value at a path in nested sets; null if the path does not exist.
  dig = path: value:
    if path == [ ] then { inherit value; }
    else if isAttrs value && value ? ${head path} then dig (tail path) value.${head path}
    else null;
  # Removes mkIf and other wrappers from a definition, so that `dig` finds the parts inside.
  unwrapped = value:
    if ! isAttrs value then [ value ]
    else if (value._type or null) == "if" then (if value.condition then unwrapped value.content else [ ])
    else if (value._type or null) == "override" || (value._type or null) == "order" then unwrapped value.content
    else if (value._type or null) == "merge" then concatMap unwrapped value.contents
    else [ value ];

  ofOption = { path, rest, option, value }: {
    kind = "option";
    value = shown 8 path value;
    type = option.type.description or "unknown";
    description = let text = option.description or null; in plain (if isAttrs text then text.text or null else text);
    isDefault = option ? highestPrio && option.highestPrio >= optionDefault;
    definitions = concatMap
      (def: concatMap
        (each: let found = dig rest each; in
          if found == null then [ ] else [ { file = toString def.file; value = shown 8 path found.value; } ])
        (unwrapped def.value))
      (located option);
  };

  # Walks down the options; `done` is the part of the path that is already walked.
  walk = evaluated: done: rest: options:
    if isOption options then
      let found = dig rest options.value; in
      if found == null then { kind = "absent"; at = done; known = if isAttrs options.value then attrNames options.value else [ ]; }
      else ofOption { path = done ++ rest; inherit rest; option = options; inherit (found) value; }
    else if rest == [ ] then { kind = "set"; names = attrNames options; }
    else if options ? ${head rest} then walk evaluated (done ++ [ (head rest) ]) (tail rest) options.${head rest}
    else { kind = "absent"; at = done; known = attrNames options; };
in
evaluated: path: let result = walk evaluated [ ] path evaluated.options; in deepSeq result result

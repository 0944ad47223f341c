# Finds problems with a file or a unit of a Debian machine, as sentences. Users see the sentences together with all
# other problems of the machine. The closure refuses the same problems for callers that build the closure directly.
let
  inherit (builtins) any concatMap elem filter isString match pathExists readDir split stringLength substring tail typeOf;

  quoted = text: "\"${text}\"";

  # --- files -------------------------------------------------------------------------------------------------

  # Changes below these paths would break the machine or hydra-ops's own record.
  reserved = [ "/dev" "/nix" "/proc" "/run/hydra-ops" "/sys" "/var/lib/hydra-ops" "/var/run/hydra-ops" ];
  isBelow = folder: path: path == folder || substring 0 (stringLength folder + 1) path == "${folder}/";

  pathProblems = path:
    let parts = tail (filter isString (split "/" path)); in
    if substring 0 1 path != "/" then [ "the path must begin with \"/\"" ]
    else if any (part: elem part [ "" "." ".." ]) parts then [ "the path must hold no empty part, \".\" or \"..\"" ]
    else if any (folder: isBelow folder path) reserved then [ "this folder is reserved for the system or for hydra-ops" ]
    else [ ];

  isMode = mode: isString mode && match "[0-7]{3,4}" mode != null;
  shown = value: if isString value then quoted value else "a value of type ${typeOf value}";

  # A path of the operator host must be a file, which the store can copy.
  sourceProblems = source:
    if typeOf source == "path" then
      if ! pathExists source then [ "${toString source} does not exist" ]
      else if kindOf source == "directory" then [ "${toString source} is a folder; name its files one by one" ]
      # The store would otherwise get only the link, without its target.
      else if kindOf source == "symlink" then [ "${toString source} is a symbolic link; name the file itself" ]
      else [ ]
    else if builtins.isFunction source then [ "expected a path, a derivation or a store path, got a function" ]
    else if substring 0 11 "${source}" == "/nix/store/" then [ ]
    else [ "${quoted source} is a string, which Nix does not copy; write the source as a path, without quotes" ];

  kindOf = path: (readDir (dirOf path)).${baseNameOf path} or "unknown";

  # --- units -------------------------------------------------------------------------------------------------

  suffixes = "service|socket|timer|path|target|mount|automount|swap|slice";
  isUnit = unit: match "[A-Za-z0-9:_.@\\-]+\\.(${suffixes})" unit != null;

  at = option: map (say: { inherit option say; });
in
{
  # `costly` allows checks of text and source, which may evaluate packages. A problem is { option; say; }, with the
  # option relative to the file or unit.
  fileProblems = costly: path: file:
    let
      text = file.text or null;
      source = file.source or null;
      mode = file.mode or "0644";
    in
    at [ ] (pathProblems path)
    ++ at [ "mode" ] (if isMode mode then [ ] else [ "expected an octal mode such as \"0644\", got ${shown mode}" ])
    ++ (
      if ! costly then [ ]
      else if text != null && source != null then at [ ] [ "give text or source, not both" ]
      else if text == null && source == null then at [ ] [ "neither text nor source is given" ]
      else if source == null then [ ]
      else at [ "source" ] (sourceProblems source)
    );

  unitProblems = unit: wanted:
    at [ ] (
      if isUnit unit then [ ]
      else [ "a unit's name has letters, digits, \":-_.@\\\" and a suffix, as in ${quoted "${unit}.service"}" ]
    )
    ++ at [ "text" ] (if wanted ? text then [ ] else [ "is not given" ]);
}

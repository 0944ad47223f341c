# The types of nixpkgs' lib, and types that old releases lack; hydra-ops supports releases since 17.03.
lib:
let
  inherit (lib.types) addCheck either int str;
  integer = description: holds: addCheck int holds // { inherit description; };
  number = lib.mkOptionType {
    name = "number";
    description = "number";
    check = value: builtins.isInt value || builtins.isFloat value;
    merge = lib.mergeEqualOption;
  };
in
{
  inherit number;
  ints = {
    positive = integer "positive integer" (value: value > 0);
    unsigned = integer "integer that is not negative" (value: value >= 0);
    between = low: high: integer "integer between ${toString low} and ${toString high}" (value: value >= low && value <= high);
  };
  oneOf = types: builtins.foldl' either (builtins.head types) (builtins.tail types);
  strMatching = pattern: addCheck str (text: builtins.match pattern text != null) // { description = "string matching the pattern ${pattern}"; };
}
// lib.types

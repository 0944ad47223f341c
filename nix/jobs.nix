# Creates a Hydra's jobs for a network. `hydra-ops hydra jobs init` copies this folder into the network's repository.
# The command also writes hydra/default.nix, which is the only user of this file.
#
# An evaluation by Hydra reads only its inputs, and has no access to the state of a deployment. The facts of the state
# that a system depends on come from machines.json.
{
  # The files of the network, as paths.
  files,
  # The folder with machines.json.
  folder,
  # The name of the only machine that becomes a job; null = all.
  machine ? null,
  # The inputs of the jobset by name.
  inputs ? { },
}:
let
  inherit (builtins)
    attrNames concatStringsSep filter foldl' fromJSON head intersectAttrs isString length listToAttrs map mapAttrs
    readFile split tail;

  facts = fromJSON (readFile (folder + "/machines.json"));
  settings = fromJSON (readFile (folder + "/hydra-ops/settings.json"));

  # Arguments of the network come from inputs of the same name. Other inputs do not reach the network, because an
  # evaluation for a deploy does not have them.
  missing = filter (name: ! inputs ? ${name}) facts.arguments;
  args =
    if missing == [ ] then intersectAttrs (listToAttrs (map (name: { inherit name; value = null; }) facts.arguments)) inputs
    else throw "the network takes the argument ${concatStringsSep " and " (map (name: "'${name}'") missing)}: give the jobset an input of that name";

  byHydraOps = import ./eval.nix {
    inherit args;
    input = {
      inherit files;
      inherit (facts) deployment system;
      inherit (settings) optionKeys;
      # Only the evaluation for a deploy refuses options.
      refused = [ ];
      physical = facts.machines;
      providerModules = map (name: toString (folder + "/hydra-ops/providers/${name}/options.nix")) settings.providerModules;
      mode = "read";
      only = null;
      exclude = [ ];
      jobs = true;
    };
  };

  # The systems that `morph` itself builds, for networks that `morph deploy` still deploys.
  byMorph =
    let
      network = import (head files);
      inherit (network.network) pkgs;
      morph = pkgs.morph.lib or (throw "evaluator = \"morph\" needs morph in network.pkgs");
      evaluated = import "${morph}/eval-machines.nix" { networkExpr = head files; };
    in
    mapAttrs (_: node: node.config.system.build.toplevel) evaluated.nodes;

  evaluator = inputs.evaluator or "hydra-ops";
  all =
    if evaluator == "hydra-ops" then byHydraOps
    else if evaluator == "morph" then byMorph
    else throw "the input evaluator is \"hydra-ops\" or \"morph\", not \"${toString evaluator}\"";
  names = if machine == null then attrNames all else filter (name: name == machine) (attrNames all);

  # A dot in the name of a job separates the names of nested sets.
  partsOf = name: filter isString (split "[.]" name);
  put = parts: value: set:
    let name = head parts; in
    set // { ${name} = if length parts == 1 then value else put (tail parts) value (set.${name} or { }); };
  jobs = foldl' (set: name: put (partsOf name) all.${name} set) { } names;

  # The aggregate job, which succeeds when every machine's system is built. Constituents by name keep the evaluation
  # of each machine separate.
  release = derivation {
    name = "release";
    inherit (facts) system;
    builder = "/bin/sh";
    args = [ "-c" ": >\"$out\"" ];
    preferLocalBuild = true;
    _hydraAggregate = true;
    constituents = names;
  };
in
if names == [ ] then throw (if machine == null then "the network has no machine" else "the network has no machine '${machine}'")
else jobs // { inherit release; }

{ lib, ... }:
{
  options.deployment.folder.memo = lib.mkOption {
    type = lib.types.str;
    default = "";
    example = "the machine under the desk";
    description = "Text in the file memo.txt of the machine.";
  };
}

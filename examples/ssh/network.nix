# An existing host: hydra-ops deploys to it, and never creates or destroys it.
#   hydra-ops create examples/ssh/network.nix -d hosts
#   hydra-ops set-args -d hosts --argstr host server.example.org
#   hydra-ops deploy -d hosts          # shows the host key at the first contact, and asks
{ host, user ? "root" }:
{
  network.description = "One host, known by its address";

  server = {
    deployment.os = "debian";
    # `ssh` is an alias of this value. The user's ~/.ssh/config applies, so the host may be an alias with a ProxyJump.
    deployment.targetEnv = "none";
    deployment.targetHost = host;
    # A user other than root needs sudo. hydra-ops asks once for the password, if sudo needs one.
    deployment.targetUser = user;

    deployment.aptPackages = [ "htop" ];
    deployment.files."/etc/motd".text = ''
      This host is deployed by hydra-ops.
    '';
    deployment.healthChecks.systemd = [ { unit = "ssh.service"; } ];
  };
}

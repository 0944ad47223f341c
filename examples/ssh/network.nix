# A host that exists already: nothing is made, nothing is destroyed, it is only deployed to.
#   hydra-ops create examples/ssh/network.nix -d hosts
#   hydra-ops set-args -d hosts --argstr host server.example.org
#   hydra-ops deploy -d hosts          # shows the host key at the first contact, and asks
{ host, user ? "root" }:
{
  network.description = "One host, known by its address";

  server = {
    deployment.os = "debian";
    # `ssh` is an alias. The user's ~/.ssh/config is honoured: host may be an alias in it, with a ProxyJump.
    deployment.targetEnv = "none";
    deployment.targetHost = host;
    # Not root: then sudo is used, without a password or with one that is asked for once.
    deployment.targetUser = user;

    deployment.aptPackages = [ "htop" ];
    deployment.files."/etc/motd".text = ''
      This host is deployed by hydra-ops.
    '';
    deployment.healthChecks.systemd = [ { unit = "ssh.service"; } ];
  };
}

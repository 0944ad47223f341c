# Two Debian guests on this host: a Hydra, and a machine that takes Hydra's builds from its binary cache. `npm run lab`
# runs this example; README.md shows how to run it by hand.
{
  # Stand-ins for Hydra and nix-serve, with a README.md in their folder.
  # The real packages: --arg packages 'import <nixpkgs> { }'
  packages ? import ../../test/fixtures/packages { startSeconds = 1; },

  # The first deploy generates this key on `ci`; `hydra-ops cache key -d lab` then prints it.
  cacheKey ? "",
}:
{
  network.description = "A Hydra, and a client of its binary cache";

  defaults = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    # The machines can open connections only to each other.
    deployment.libvirtd.outbound = false;
  };

  ci = {
    deployment.libvirtd = {
      memorySize = 1536;
      vcpu = 2;
      # Hydra's own URL is http://127.0.0.1:8080 on this host.
      forwardPorts = [
        {
          host = 8080;
          guest = 80;
        }
      ];
    };

    # The stand-ins need these packages.
    deployment.aptPackages = [
      "python3-cryptography"
      "python3-psycopg2"
    ];

    deployment.hydra = {
      enable = true;
      package = packages.hydra;
      cache.enable = true;
      nginx.enable = true;
      admin = {
        userName = "alice";
        fullName = "Alice Q. User";
        emailAddress = "alice@example.org";
        password.generate = true;
      };
    };
  };

  client =
    { lib, ... }:
    {
      deployment.libvirtd.memorySize = 512;

      # Every machine resolves the name `ci` to an address in the LAN.
      deployment.nix = lib.mkIf (cacheKey != "") {
        substituters = [ "http://ci/static-cache" ];
        trustedPublicKeys = [ cacheKey ];
      };
    };
}

# A Hydra, and a machine that takes what Hydra built from its binary cache: two Debian guests on this host.
# Run by `npm run lab`; by hand: see README.md.
{
  # Stand-ins for Hydra and nix-serve: see README.md there. The real ones: --arg packages 'import <nixpkgs> { }'
  packages ? import ../../test/fixtures/packages { startSeconds = 1; },

  # Made on `ci` by its first deploy, and known only then: `hydra-ops cache key -d lab`.
  cacheKey ? "",
}:
{
  network.description = "A Hydra, and a client of its binary cache";

  defaults = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    # They reach each other, nothing else.
    deployment.libvirtd.outbound = false;
  };

  ci = {
    deployment.libvirtd = {
      memorySize = 1536;
      vcpu = 2;
      # http://127.0.0.1:8080 on this host is what Hydra believes to be its URL.
      forwardPorts = [
        {
          host = 8080;
          guest = 80;
        }
      ];
    };

    # What the stand-ins are made of.
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

      # The LAN gives `ci` its name.
      deployment.nix = lib.mkIf (cacheKey != "") {
        substituters = [ "http://ci/static-cache" ];
        trustedPublicKeys = [ cacheKey ];
      };
    };
}

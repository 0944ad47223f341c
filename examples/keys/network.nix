# Secrets: delivered outside the Nix store, from files, commands, or (for trying things out) text.
{
  network.description = "A machine with secrets";

  app = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    deployment.libvirtd.outbound = false;

    # Read at each deploy; sent when it changed. In /run, so it is gone after a reboot and sent again.
    deployment.keys.db-password = {
      keyFile = ./db-password;
      user = "www-data";
      group = "www-data";
    };

    # Printed by a command on this host; never runs in a dry run.
    deployment.keys.api-token = {
      # In earnest: [ "pass" "show" "app/token" ].
      keyCommand = [ "printf" "example-token" ];
      destDir = "/var/lib/keys";
      permissions = "0400";
      uploadAt = "post-activation";
    };

    # A unit that waits for its key: <name>-key.service is active while the file is there.
    deployment.units."app.service".text = ''
      [Unit]
      Description=Needs a password
      After=db-password-key.service
      Requires=db-password-key.service

      [Service]
      Type=oneshot
      ExecStart=/usr/bin/test -s /run/keys/db-password
      RemainAfterExit=yes

      [Install]
      WantedBy=multi-user.target
    '';
  };
}

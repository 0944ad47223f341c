# Secrets that are delivered outside the Nix store: from files, commands, or (for experiments) text.
{
  network.description = "A machine with secrets";

  app = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    deployment.libvirtd.outbound = false;

    # Each deploy reads the file and sends a changed key. The key in /run is gone after a reboot, and is sent again.
    deployment.keys.db-password = {
      keyFile = ./db-password;
      user = "www-data";
      group = "www-data";
    };

    # A command on this host prints the key; a dry run never runs the command.
    deployment.keys.api-token = {
      # A real command: [ "pass" "show" "app/token" ].
      keyCommand = [ "printf" "example-token" ];
      destDir = "/var/lib/keys";
      permissions = "0400";
      uploadAt = "post-activation";
    };

    # This unit waits for its key: <name>-key.service is active while the file exists.
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

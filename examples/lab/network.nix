# Two Debian guests on this host: a web server, and a database that only the web server can see.
# Run by `npm run lab`; by hand: hydra-ops create examples/lab/network.nix -d lab && hydra-ops deploy -d lab
{
  network.description = "Two Debian guests on one host";

  defaults = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    # They reach this host and each other, nothing else.
    deployment.libvirtd.outbound = false;
    deployment.libvirtd.memorySize = 512;
  };

  web = {
    # http://127.0.0.1:8080 on this host; `hydra-ops info -d lab` shows it too.
    deployment.libvirtd.forwardPorts = [
      {
        host = 8080;
        guest = 80;
      }
    ];

    deployment.files."/etc/lab/nginx.conf".text = ''
      pid /run/lab-nginx.pid;
      events { }
      http {
        access_log off;
        server {
          listen 80;
          root /srv/lab;
          # The LAN gives `db` its name.
          location /db/ { proxy_pass http://db:8000/; }
        }
      }
    '';
    deployment.files."/srv/lab/index.html".text = ''
      <h1>It works</h1>
      <p>This page comes from <code>web</code>, and <a href="/db/">this one</a> from <code>db</code>.</p>
    '';
    deployment.units."lab-web.service".text = ''
      [Unit]
      Description=The lab's web page
      After=network.target

      [Service]
      ExecStart=/usr/sbin/nginx -c /etc/lab/nginx.conf -g "daemon off;"
      Restart=always

      [Install]
      WantedBy=multi-user.target
    '';

    deployment.healthChecks.http = [
      {
        description = "the page";
        port = 80;
      }
      {
        description = "the page of db, over the LAN";
        port = 80;
        path = "/db/";
        # db may still be starting.
        total = 300;
      }
    ];
  };

  db = {
    deployment.files."/etc/lab/nginx.conf".text = ''
      pid /run/lab-nginx.pid;
      events { }
      http {
        access_log off;
        server {
          listen 8000;
          root /srv/lab;
        }
      }
    '';
    deployment.files."/srv/lab/index.html".text = ''
      <h1>Hello from db</h1>
    '';
    deployment.units."lab-db.service".text = ''
      [Unit]
      Description=Stands for a database: says hello on port 8000
      After=network.target

      [Service]
      ExecStart=/usr/sbin/nginx -c /etc/lab/nginx.conf -g "daemon off;"
      Restart=always

      [Install]
      WantedBy=multi-user.target
    '';
    deployment.healthChecks.tcp = [ { port = 8000; } ];
  };
}

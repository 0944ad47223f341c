# Two Debian guests on this host: a web server, and a database that only the web server can see.
# hydra-ops create examples/web/network.nix -d web && hydra-ops deploy -d web
{
  network.description = "Two Debian guests on one host";

  defaults = {
    deployment.os = "debian";
    deployment.targetEnv = "libvirtd";
    # The machines can open connections only to each other.
    deployment.libvirtd.outbound = false;
    deployment.libvirtd.memorySize = 512;
  };

  web = {
    # The site is http://127.0.0.1:8081 on this host; `hydra-ops info -d web` shows the URL too.
    deployment.libvirtd.forwardPorts = [
      {
        host = 8081;
        guest = 80;
      }
    ];

    deployment.files."/etc/example/nginx.conf".text = ''
      pid /run/example-nginx.pid;
      events { }
      http {
        access_log off;
        server {
          listen 80;
          root /srv/example;
          # The LAN gives `db` its name.
          location /db/ { proxy_pass http://db:8000/; }
        }
      }
    '';
    deployment.files."/srv/example/index.html".text = ''
      <h1>It works</h1>
      <p>This page comes from <code>web</code>, and <a href="/db/">this one</a> from <code>db</code>.</p>
    '';
    deployment.units."example-web.service".text = ''
      [Unit]
      Description=The web page
      After=network.target

      [Service]
      ExecStart=/usr/sbin/nginx -c /etc/example/nginx.conf -g "daemon off;"
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
        # The database may still be starting.
        total = 300;
      }
    ];
  };

  db = {
    deployment.files."/etc/example/nginx.conf".text = ''
      pid /run/example-nginx.pid;
      events { }
      http {
        access_log off;
        server {
          listen 8000;
          root /srv/example;
        }
      }
    '';
    deployment.files."/srv/example/index.html".text = ''
      <h1>Hello from db</h1>
    '';
    deployment.units."example-db.service".text = ''
      [Unit]
      Description=Stands for a database: says hello on port 8000
      After=network.target

      [Service]
      ExecStart=/usr/sbin/nginx -c /etc/example/nginx.conf -g "daemon off;"
      Restart=always

      [Install]
      WantedBy=multi-user.target
    '';
    deployment.healthChecks.tcp = [ { port = 8000; } ];
  };
}

# shellcheck shell=sh
# Gets a certificate from Let's Encrypt. certbot's own timer renews the certificate.
# Values: webroot (folder that nginx serves to Let's Encrypt), name (of the site), email (of its owner).
: "${webroot:?}" "${name:?}" "${email?}"
mkdir -p -- "$webroot" || exit 1
step 'the folder is there'
certbot certonly --non-interactive --agree-tos --email "$email" --webroot --webroot-path "$webroot" --cert-name "$name" \
  --domain "$name" --deploy-hook 'systemctl reload nginx' >&2 || exit 1

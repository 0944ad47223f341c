# shellcheck shell=sh
# Creates a key and a self-signed certificate, unless the pair exists.
# Values: folder, name (of the certificate), alternatives (its names, in openssl's format).
#
# An existing pair is kept, because clients may trust it. Half of a pair is removed first, so a crash never leaves a
# key beside the certificate of another key.
: "${folder:?}" "${name:?}" "${alternatives:?}"
if [ -s "$folder/$name.pem" ] && [ -s "$folder/$name.key" ]; then exit 0; fi
umask 077
mkdir -p -- "$folder" || exit 1
chmod 0755 -- "$folder" || exit 1
step 'the folder is there'
openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj "/CN=$name" -addext "subjectAltName=$alternatives" \
  -keyout "$folder/.key.new" -out "$folder/.pem.new" 2> /dev/null || exit 1
step 'the pair is made'
chmod 0644 -- "$folder/.pem.new" || exit 1
rm -f -- "$folder/$name.pem" || exit 1
step 'no certificate is in place'
mv -f -- "$folder/.key.new" "$folder/$name.key" || exit 1
step 'the key is in place'
mv -f -- "$folder/.pem.new" "$folder/$name.pem" || exit 1
step 'the certificate is in place'
sync "$folder"

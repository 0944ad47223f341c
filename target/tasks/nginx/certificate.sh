# shellcheck shell=sh
# Makes a key and a certificate that signs itself, where there is no such pair.
# Values: folder, name (of the certificate), alternatives (its names, as openssl writes them).
#
# An existing pair is kept: somebody may have told a client to trust it. What is left of half a pair goes first, so that a
# crash between the two never leaves a key beside the certificate of another one.
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

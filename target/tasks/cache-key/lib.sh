# shellcheck shell=sh
# Functions for the scripts about a signing key.
#
# A secret key of Nix is `NAME:BASE64` of 64 bytes. The last 32 bytes are the public key (libsodium's crypto_sign). No
# part of the key leaves the machine or appears on a command line.

# Sets key_name and key_code from a file. The shell itself reads the file. A line break inside the code is allowed.
read_key() {
  key_text=''
  while IFS= read -r key_line || [ -n "$key_line" ]; do key_text=$key_text$key_line; done < "$1" || return 1
  key_name=${key_text%%:*} key_code=${key_text#*:}
  case $key_text in *:*) ;; *) return 1 ;; esac
  case $key_name in '' | *[[:space:]]*) return 1 ;; esac
}
is_key() { read_key "$1" && [ "$(printf %s "$key_code" | base64 -d 2>/dev/null | wc -c)" -eq 64 ]; }

# Prints the public key that belongs to the secret key in file $1. The key begins at byte 33.
public_of() {
  read_key "$1" && printf '%s:%s\n' "$key_name" "$(printf %s "$key_code" | base64 -d 2>/dev/null | tail -c +33 | base64 -w0)"
}

# Tells whether the text $1 is a public key. Its 32 bytes are 43 characters and one padding in base64.
is_public() {
  key_code=${1#*:}
  case ${#key_code}:$key_code in 44:*[!=]=) ;; *) return 1 ;; esac
}

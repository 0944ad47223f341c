# shellcheck shell=sh
# Functions for the scripts about a signing key.
#
# A secret key of Nix is `NAME:BASE64` of 64 bytes, the last 32 of which are the public key (libsodium's crypto_sign).
# No part of the key leaves the machine or appears on a command line.

decoded() { tr -d '\n' < "$1" | cut -d: -f2- | base64 -d 2>/dev/null; }
is_key() { grep -q '^[^:[:space:]][^:[:space:]]*:' "$1" && [ "$(decoded "$1" | wc -c)" -eq 64 ]; }

# Prints the public key that belongs to a secret one.
public_of() { printf '%s:%s\n' "$(head -n 1 "$1" | cut -d: -f1)" "$(decoded "$1" | tail -c 32 | base64 -w0)"; }

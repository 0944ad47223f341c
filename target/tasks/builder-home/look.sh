# shellcheck shell=sh
# Looks at the forced command of a Nix installation in a home directory, its keys, and the machine's capabilities.
# Prints `hash=` (of the script, `-` if the script is missing), `key=` for each key line of hydra-ops (the text after
# its command), `system=`, `cores=` and `kvm=` (yes or no).
say hash "$(hash_of "${script:?}")"
lines_of_keys yes | sed 's/^.*hydra-ops\/serve-store" //' | while IFS= read -r line; do say key "$line"; done
say system "$(uname -m)-linux"
say cores "$(nproc)"
if [ -w /dev/kvm ]; then say kvm yes; else say kvm no; fi
exit 0

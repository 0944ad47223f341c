# shellcheck shell=sh
# Looks at the signatures of this machine's store.
# Values: mark (path of the mark of signed paths), root (link that keeps the path for proofs).
# Prints `signed=` (the public key of the signatures on the existing paths), and `sample=` (the path for proofs, if it
# exists).
: "${mark:?}" "${root:?}"
say signed "$(head -n 1 -- "$mark" 2>/dev/null)"
sample=$(readlink -f -- "$root" 2>/dev/null)
if [ -n "$sample" ] && [ -e "$sample" ]; then say sample "$sample"; fi
exit 0

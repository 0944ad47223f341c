# shellcheck shell=sh
# Removes the path for proofs, and the mark of signed paths. The key and the signatures stay.
# Values: mark (path of the mark), root (link that keeps the path).
: "${mark:?}" "${root:?}"
rm -f -- "$root" || exit 1
step 'the path for proofs may go'
rm -f -- "$mark" || exit 1
step 'the mark is gone'

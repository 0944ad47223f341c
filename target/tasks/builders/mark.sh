# shellcheck shell=sh
# Marks a builder that gets no new builds, or removes the mark.
# Values: drained (folder of marks), name (of the builder), drains (true or false).
: "${drained:?}" "${name:?}" "${drains:?}"
lock_marks "$drained" || exit 1
if [ "$drains" = true ]; then
  mkdir -p -- "$drained" && : > "$drained/$name"
else
  rm -f -- "$drained/$name"
fi

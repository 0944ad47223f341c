# shellcheck shell=sh
# Runs several scripts one after the other, each in a shell of its own.
# Values: mark (no line of a script's begins with it), count, text_1, text_2, … (the scripts), title_1, … (their
# purposes).
# Standard input: a line for each script, `-` without input, or else its standard input in base64.
# Prints for each script `MARK begin NUMBER TITLE`, its output, `MARK end NUMBER STATUS`, its stderr, and `MARK next`.
: "${mark:?}" "${count:?}"
exec 4>&1
number=0 text='' title=''
while [ "$number" -lt "$count" ]; do
  number=$((number + 1))
  IFS= read -r given || given=-
  eval "text=\$text_$number title=\$title_$number"
  printf '%s begin %s %s\n' "$mark" "$number" "$title"
  # The script's stderr and, on a line of its own, its status.
  ended=$(
    if [ "$given" = - ]; then
      sh -c "$text" < /dev/null 2>&1 >&4 4>&-
    else
      printf %s "$given" | base64 -d | sh -c "$text" 2>&1 >&4 4>&-
    fi
    printf '\n%s' $?
  )
  printf '\n%s end %s %s\n%s\n%s next\n' "$mark" "$number" "${ended##*
}" "${ended%
*}" "$mark"
done

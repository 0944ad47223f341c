# shellcheck shell=sh
# Runs several scripts at once, each in a separate shell.
# Values: mark (no output line of a script begins with it), count, text_1, text_2, … (the scripts), title_1, … (their
# purposes).
# Standard input: a line for each script, with its standard input in base64, or `-` for no input.
# Prints for each script, in their order, `MARK begin NUMBER TITLE`, its output, `MARK end NUMBER STATUS`, its stderr,
# and `MARK next`.
: "${mark:?}" "${count:?}"
number=0 text='' title=''
while [ "$number" -lt "$count" ]; do
  number=$((number + 1))
  IFS= read -r given || given=-
  eval "given_$number=\$given"
done
# Runs script $1.
run_script() {
  eval "text=\$text_$1 title=\$title_$1 given=\$given_$1"
  exec 4>&1
  printf '%s begin %s %s\n' "$mark" "$1" "$title"
  # The variable holds the script's stderr and, on the last line, its status.
  ended=$(
    if [ "$given" = - ]; then
      sh -c "$text" < /dev/null 2>&1 >&4 4>&-
    else
      printf %s "$given" | base64 -d | sh -c "$text" 2>&1 >&4 4>&-
    fi
    printf '\n%s' $?
  )
  printf '\n%s end %s %s\n%s\n%s next\n' "$mark" "$1" "${ended##*
}" "${ended%
*}" "$mark"
}
# Runs script $1 and all later scripts. The output of the later scripts waits in a pipe until script $1 has ended.
run_from() {
  if [ "$1" -ge "$count" ]; then
    run_script "$1"
  else
    run_from "$(($1 + 1))" | {
      run_script "$1"
      exec cat
    }
  fi
}
run_from 1

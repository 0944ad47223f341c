# shellcheck shell=sh
# Runs several scripts at once, each in a subshell of this shell. Another shell for each script would take longer to
# start than most scripts take.
# Values: mark (no output line of a script begins with it), count, text_1, text_2, … (the scripts), title_1, … (their
# purposes).
# Standard input: a line for each script, with its standard input in base64, or `-` for no input.
# Prints for each script, in their order, `MARK begin NUMBER TITLE`, its output, `MARK end NUMBER STATUS`, its stderr,
# and `MARK next`.
: "${mark:?}" "${count:?}"
number=0 text='' title='' given=''
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
  # The script finds no variable and no argument of this file.
  text="unset mark count number text title given; set --
$text"
  # The variable holds the script's stderr.
  if [ "$given" = - ]; then
    wrong=$(eval "$text" < /dev/null 2>&1 >&4 3>&- 4>&-)
  else
    wrong=$(printf %s "$given" | base64 -d | eval "$text" 2>&1 >&4 3>&- 4>&-)
  fi
  printf '\n%s end %s %s\n%s\n%s next\n' "$mark" "$1" $? "${wrong:+$wrong
}" "$mark"
}
# Runs script $1, and prints its answer when all earlier answers are printed. The script before this script writes a
# line to the standard input of this function then.
answer() {
  said=$(run_script "$1")
  [ "$1" = 1 ] || read -r _
  printf '%s\n' "$said" >&3
  [ "$1" = "$count" ] || echo
}
# Runs script $1 and all later scripts.
run_from() {
  if [ "$1" -ge "$count" ]; then
    answer "$1"
  else
    answer "$1" | run_from "$(($1 + 1))"
  fi
}
exec 3>&1
run_from 1

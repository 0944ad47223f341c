# shellcheck shell=sh
# Tells for how long the builds run that this machine began on its builders: each has a connection of ssh of its own.
# The builder itself may be frozen, and then tells nothing.
# Values: logins (USER@HOST of the builders).
# Prints `step=SECONDS LOGIN` for each connection. Fails without ps, because no answer would mean no builds.
: "${logins:?}"
seen=$(ps -eo etimes=,args=) || exit 1
printf '%s\n' "$seen" | while read -r seconds program words; do
  case $program in ssh | */ssh) ;; *) continue ;; esac
  case $words in *nix-store\ --serve*) ;; *) continue ;; esac
  printf '%s\n' "$logins" | while IFS= read -r login; do
    case " $words " in *" $login "* | *" ssh://$login "*) say step "$seconds $login" ;; esac
  done
done

# shellcheck shell=sh
# Reports how long this machine's builds on its builders have been running. Each build has a separate ssh connection.
# A frozen builder could not report anything itself.
# Values: logins (USER@HOST of the builders).
# Prints `step=SECONDS LOGIN` for each connection. Fails without ps, because an empty answer would mean that no build
# runs.
: "${logins:?}"
seen=$(ps -eo etimes=,args=) || exit 1
printf '%s\n' "$seen" | while read -r seconds program words; do
  case $program in ssh | */ssh) ;; *) continue ;; esac
  case $words in *nix-store\ --serve*) ;; *) continue ;; esac
  printf '%s\n' "$logins" | while IFS= read -r login; do
    case " $words " in *" $login "* | *" ssh://$login "*) say step "$seconds $login" ;; esac
  done
done

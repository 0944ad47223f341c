# shellcheck shell=sh
# Signs in to Hydra as a user of hydra-ops. The script generates a new password and does not keep it.
# Values: folder, hydra_user, user, address and port (of hydra-server), command (records of one word: the program that
# creates or changes the user, and reads the password twice).
# Prints `status=` (of the login; empty if nothing answers), `answer=` (the last line of a refusal) and `cookie=`.
#
# The password is passed only through pipes. Every Debian has bash, but not every Debian has an HTTP client.
: "${folder:?}" "${hydra_user:?}" "${user:?}" "${address:?}" "${port:?}" "${command:?}"
password=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
[ "$(printf '%s' "$password" | wc -c)" -eq 64 ] || exit 1
cd "$folder" || exit 1
printf '%s\n%s\n' "$password" "$password" | as_hydra_user > /dev/null || exit
step 'the user has a new password'
host=$address
case $host in *:*) host="[$host]" ;; esac
# Prints the request of a login.
login_request() {
  body="{\"username\":\"$user\",\"password\":\"$password\"}"
  printf 'POST /login HTTP/1.0\r\nHost: %s:%s\r\nOrigin: http://%s:%s\r\n' "$host" "$port" "$host" "$port"
  printf 'Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: %s\r\n\r\n%s' "${#body}" "$body"
}
# shellcheck disable=SC2016 # bash is to expand it.
answer=$(login_request |
  timeout 120 bash -c 'exec 3<> "/dev/tcp/$1/$2" && cat >&3 && cat <&3' bash "$address" "$port" 2> /dev/null)
status=$(printf '%s' "$answer" | sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p')
say status "$status"
case $status in
  200 | 302)
    printf '%s\n' "$answer" | tr -d '\r' | sed -n 's/^[Ss]et-[Cc]ookie: *\(hydra_session=[^;]*\).*/cookie=\1/p'
    ;;
  *) say answer "$(printf '%s' "$answer" | tail -n 1 | cut -c 1-300)" ;;
esac
step 'the login has ended'
exit 0

# shellcheck shell=sh
# Runs a transaction of apt in a separate session, with its output in a file. Neither a lost connection nor a broken
# pipe ends the transaction.
# Values: transaction (the script apt-transaction.sh with its values).
# Standard input: apt's configuration, which may hold a password.
# Prints the transaction's output, and exits with its status.
: "${transaction:?}"
umask 077
mkdir -p /run/hydra-ops || exit 1
conf=$(mktemp /run/hydra-ops/apt.XXXXXX) || exit 1
log=$(mktemp /run/hydra-ops/apt-log.XXXXXX) || exit 1
cat > "$conf" || exit 1
export conf
setsid sh -c "$transaction" > "$log" 2>&1 < /dev/null &
pid=$!
tail -n +1 -s 0.2 --pid=$pid -f -- "$log"
wait $pid
status=$?
rm -f -- "$log"
exit $status

# Reads the output of `nginx -T`, and reports conflicts of other sites with the site of hydra-ops (lib.sh).
# Variables: own (path of that site), ports and names (of that site), mains (main addresses of the machine).

function listens(at,    address, port, each) {
  address = at
  port = "80"
  if (at ~ /^[0-9]+(-[0-9]+)?$/) { address = "*"; port = at }
  else if (match(at, /:[0-9]+(-[0-9]+)?$/)) { address = substr(at, 1, RSTART - 1); port = substr(at, RSTART + 1) }
  if (address == "*") address = "0.0.0.0"
  split(port, each, "-")
  if (each[2] == "") each[2] = each[1]
  for (key in warned) {
    split(key, pair, SUBSEP)
    match(pair[2], /:[0-9]+$/)
    wanted = substr(pair[2], RSTART + 1) + 0
    if (substr(pair[2], 1, RSTART - 1) == address && wanted >= each[1] + 0 && wanted <= each[2] + 0) here[key] = 1
  }
  listen = 1
  if (file == own || address ~ /^(0\.0\.0\.0|\[::\]|127\..*|\[::1\]|localhost|unix:.*)$/) return
  for (port in wantedPorts)
    if (port + 0 >= each[1] + 0 && port + 0 <= each[2] + 0)
      away[(((tolower(address)) in main) ? "address=" : "elsewhere=") address ":" port " " file] = 1
}
function statement(    i) {
  if (words[1] == "listen" && inServer) listens(words[2])
  if (words[1] == "server_name") for (i = 2; i <= count; i++) {
    name = tolower(words[i])
    if (!(name in asked)) continue
    if (file != own) loose[name " " file] = name
    if (inServer) inBlock[name] = 1
  }
}
function open() {
  depth++
  if (words[1] == "server" && count == 1 && !inServer) {
    inServer = depth
    listen = 0
    split("", here)
    split("", inBlock)
  }
}
function close_block() {
  if (inServer && depth == inServer) {
    if (!listen) listens("80")
    for (key in here) {
      split(key, pair, SUBSEP)
      if ((pair[1] in inBlock) && file != own) strict[pair[1] " " file] = pair[1]
    }
    inServer = 0
  }
  depth--
}
BEGIN {
  total = split(names, list, " ")
  for (i = 1; i <= total; i++) asked[list[i]] = 1
  total = split(ports, list, " ")
  for (i = 1; i <= total; i++) {
    ours["0.0.0.0:" list[i]] = 1
    ours["[::]:" list[i]] = 1
    wantedPorts[list[i]] = 1
  }
  total = split(mains, list, " ")
  for (i = 1; i <= total; i++) main[tolower(list[i])] = 1
}
/conflicting server name "/ {
  match($0, /conflicting server name "[^"]*" on [^ ]*,/)
  split(substr($0, RSTART, RLENGTH - 1), said, "\"")
  at = substr(said[3], 5)
  if ((said[2] in asked) && (at in ours)) { warned[said[2], at] = 1; lost[said[2]] = 1 }
  next
}
/^# configuration file .*:$/ {
  file = substr($0, 22)
  sub(/:$/, "", file)
  depth = inServer = count = 0
  next
}
{
  if (match($0, /(^|[ \t;{}])#/)) $0 = substr($0, 1, RSTART + RLENGTH - 2)
  gsub(/[{};]/, " & ")
  total = split($0, list, /[ \t\r]+/)
  for (i = 1; i <= total; i++) {
    word = list[i]
    gsub(/["\047]/, "", word)
    if (word == "") continue
    if (word != ";" && word != "{" && word != "}") { words[++count] = word; continue }
    if (word == ";") statement()
    if (word == "{") open()
    if (word == "}") close_block()
    split("", words)
    count = 0
  }
}
END {
  for (line in away) print line
  for (line in strict) { print "conflict=" line; named[strict[line]] = 1 }
  for (line in loose) if ((loose[line] in lost) && !(loose[line] in named)) { print "conflict=" line; found[loose[line]] = 1 }
  for (name in lost) if (!(name in named) && !(name in found)) print "conflict=" name " a file that nginx -T shows"
}

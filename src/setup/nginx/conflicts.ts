import { failure } from '../../core/errors.js'
import { type Facts, fact } from '../../remote/run-script.js'
import { cacheNames, type SiteSettings, sitePorts } from './site-text.js'

/** The names that users ask for. `localhost` is ours only beside them: other sites may have it too. */
export function contestedNames(settings: SiteSettings): string[] {
  return [...askedNames(settings), ...cacheNames(settings)]
}

/** Lists the names under which users ask for Hydra itself, in small letters as nginx compares them. */
export function askedNames({ options, hostName, url }: SiteSettings): string[] {
  const { nginx } = options
  const opened = new URL(url).hostname
  const names = [nginx.hostName ?? hostName, ...nginx.serverAliases, opened].map((name) => name.toLowerCase())
  return [...new Set(names)].filter((name) => name !== 'localhost' || opened === 'localhost')
}

/** Lists the arguments of the shell's function `conflicts` after the path of our own site. */
export function conflictArguments(settings: SiteSettings): string[] {
  return [sitePorts(settings).join(' '), ...contestedNames(settings)]
}

/**
 * A function of the shell, `conflicts OWN-FILE PORTS NAME…`, whose lines are of four kinds.
 * `refused=WORDS`: nginx refuses its configuration as a whole, so that nothing is known of its sites.
 * `conflict=NAME FILE`: nginx ignores the name at one of two sites where ours listens. nginx takes the site that it reads
 * first, calls that a warning, and names no file. The files with that name and that port are named; where included files
 * hide these, all with that name are.
 * `address=ADDRESS:PORT FILE`: another site listens at the address by which the machine is reached, so nginx asks no site
 * there that listens everywhere. `elsewhere=` is the same for any other address. A route is looked up, and nothing is sent.
 */
export const conflictFunctions = `
main_address() { ip -o "$1" route get "$2" 2> /dev/null | sed -n 's/.* src \\([^ ]*\\).*/\\1/p'; }
conflicts() {
  own=$1 ports=$2
  shift 2
  mains="$(main_address -4 192.0.2.1) [$(main_address -6 2001:db8::1)]"
  command -v nginx > /dev/null || return 0
  all=$(nginx -T -q 2>&1) || {
    printf '%s\\n' "$all" | sed -n 's/^.*\\[emerg\\] \\([0-9#]*: \\)\\{0,1\\}/refused=/p' | head -n 1 | grep . ||
      echo 'refused=nginx -T fails'
    return 0
  }
  printf '%s\\n' "$all" | awk -v own="$own" -v ports="$ports" -v mains="$mains" -v names="$*" '
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
      if (file == own || address ~ /^(0\\.0\\.0\\.0|\\[::\\]|127\\..*|\\[::1\\]|localhost|unix:.*)$/) return
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
      split(substr($0, RSTART, RLENGTH - 1), said, "\\"")
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
      if (match($0, /(^|[ \\t;{}])#/)) $0 = substr($0, 1, RSTART + RLENGTH - 2)
      gsub(/[{};]/, " & ")
      total = split($0, list, /[ \\t\\r]+/)
      for (i = 1; i <= total; i++) {
        word = list[i]
        gsub(/["\\047]/, "", word)
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
    }' | sort -u
}
`

/** What other sites of nginx take from ours, as `conflicts` tells it. */
export interface OtherSites {
  /** The words with which nginx refuses its configuration; '' = it takes the configuration. */
  readonly refused: string
  readonly names: readonly string[]
  readonly addresses: readonly string[]
  /** Addresses by which the machine is not reached by default. */
  readonly elsewhere: readonly string[]
}

export function otherSites(facts: Facts): OtherSites {
  const of = (key: string) => facts.get(key) ?? []
  return {
    refused: fact(facts, 'refused'),
    names: of('conflict'),
    addresses: of('address'),
    elsewhere: of('elsewhere'),
  }
}

/** Says that nginx goes on with what it has read, and with what words it refuses what it would read next. */
export function refusedText(words: string): string {
  return `nginx refuses its configuration, and would not start again: ${words}`
}

/** The error of a configuration that nginx refuses. */
export function refusedFailure(machine: string, words: string): Error {
  return failure('NGINX', `machine '${machine}': ${refusedText(words)}`, {
    machine,
    hint: 'nginx -t on the machine says what is wrong; mend it, then deploy again',
  })
}

/** Says who else has our name: `NAME FILE`, a line each. */
export function conflictText(lines: readonly string[]): string {
  const found = pairs(lines).map(([name, file]) => `${file} (${name})`)
  return `another site of nginx has the same server_name: ${found.join(', ')}`
}

/** Says at which addresses requests never come to our site: `ADDRESS:PORT FILE`, a line each. */
export function addressText(lines: readonly string[]): string {
  return pairs(lines)
    .map(([address, file]) => `requests to ${address} reach only another site of nginx: ${file}`)
    .join('; ')
}

function pairs(lines: readonly string[]): (readonly [string, string])[] {
  return lines.map((line) => {
    const at = line.indexOf(' ')
    return [line.slice(0, at), line.slice(at + 1)]
  })
}

/** The error, which leaves the choice between both sites to the user. */
export function conflictFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${conflictText(lines)}`, {
    machine,
    hint: 'nginx asks only one of them: take the name out of that file, or give Hydra another one (deployment.hydra.nginx)',
  })
}

/** The error of a site that has the address of the machine for itself. */
export function addressFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${addressText(lines)}`, {
    machine,
    hint: 'write the port alone into that file, such as "listen 80;": then nginx chooses between both sites by their names',
  })
}

import { failure } from '../../core/errors.js'
import type { SiteSettings } from './site-text.js'

/** The names that users ask for. `localhost` is ours only beside them: other sites may have it too. */
export function contestedNames({ options, hostName, url }: SiteSettings): string[] {
  const { nginx } = options
  const opened = new URL(url).hostname
  const names = [nginx.hostName ?? hostName, ...nginx.serverAliases, opened, nginx.cacheHostName ?? '']
  return [...new Set(names)].filter((name) => name !== '' && (name !== 'localhost' || opened === 'localhost'))
}

/**
 * A function of the shell, `conflicts OWN-FILE NAME…`: prints `NAME FILE` for each name that nginx ignores at one of two
 * sites of the same port. nginx takes the site that it reads first, calls that a warning, and names no file.
 */
export const conflictFunctions = `
conflicts() {
  own=$1
  shift
  whole=$(nginx -T -q 2>&1)
  for name do
    printf '%s\\n' "$whole" | grep -qF "conflicting server name \\"$name\\" on " || continue
    printf '%s\\n' "$whole" | awk -v name="$name" -v own="$own" '
      /^# configuration file .*:$/ { file = substr($0, 22); sub(/:$/, "", file); inside = 0; next }
      {
        sub(/#.*/, "")
        gsub(/[{};]/, " & ")
        count = split($0, words, /[ \\t]+/)
        for (i = 1; i <= count; i++) {
          gsub(/["\\047]/, "", words[i])
          if (words[i] == "server_name") inside = 1
          else if (words[i] == ";") inside = 0
          else if (inside && tolower(words[i]) == name && file != own) print name " " file
        }
      }' | sort -u
  done
}
`

/** Says who else has our name: `NAME FILE`, a line each. */
export function conflictText(lines: readonly string[]): string {
  const found = lines.map((line) => {
    const at = line.indexOf(' ')
    return `${line.slice(at + 1)} (${line.slice(0, at)})`
  })
  return `another site of nginx has the same server_name: ${found.join(', ')}`
}

/** The error, which leaves the choice between both sites to the user. */
export function conflictFailure(machine: string, lines: readonly string[]): Error {
  return failure('NGINX', `machine '${machine}': ${conflictText(lines)}`, {
    machine,
    hint: 'nginx asks only one of them: take the name out of that file, or give Hydra another one (deployment.hydra.nginx)',
  })
}

import { readFileSync } from 'node:fs'

/** Output of `ssh -G`, by keyword. */
export type SshAnswer = ReadonlyMap<string, readonly string[]>

/** The parts of a question that the command line decides, whatever the configuration says. */
export interface SshQuestion {
  readonly host: string
  readonly port: number | string | undefined
  readonly user: string | undefined
}

/** The time for which an answer holds. The user may change the configuration after a failed login. */
const holdsForMs = 10_000

/** Keywords that may have a different effect for each host. */
const dependent = /^(?:match|hostname|tag|canonical\w*)$/
/**
 * Keywords whose tokens `ssh -G` does not expand. ssh expands the tokens of other keywords, such as IdentityAgent
 * (measured).
 */
const unfilled = /^(?:proxycommand|proxyjump|identityfile|certificatefile)$/

/**
 * Answers of ssh that hold for all hosts. Each question costs a process, and most configurations say the same about
 * every machine. A configuration with a section for some hosts has no shared answer.
 */
export class SharedAnswers {
  readonly #answers = new Map<string, { readonly at: number; readonly answer: SshAnswer }>()
  readonly #now: () => number

  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** Returns the answer for a host, given an earlier answer for another host. */
  find(question: SshQuestion): SshAnswer | undefined {
    const known = this.#answers.get(kindOf(question))
    if (known === undefined || this.#now() - known.at > holdsForMs || !isPlainHost(question.host))
      return undefined
    const answer = new Map(known.answer)
    answer.set('hostname', [question.host])
    if (question.port !== undefined) answer.set('port', [String(question.port)])
    if (question.user !== undefined) answer.set('user', [question.user])
    return answer
  }

  /** Keeps an answer if all files that ssh read say the same about every host. `said` is the output of `ssh -v`. */
  keep(question: SshQuestion, answer: SshAnswer, said: string): void {
    if (!isPlainHost(question.host) || dependsOnHost(said)) return
    this.#answers.set(kindOf(question), { at: this.#now(), answer })
  }
}

/** Identifies the kind of a question: the configuration decides a port or a user that the question lacks. */
function kindOf({ port, user }: SshQuestion): string {
  return `${port === undefined} ${user === undefined}`
}

/** Tells whether ssh uses a host name as it is written; ssh changes upper case, for example. */
function isPlainHost(host: string): boolean {
  return /^[a-z0-9][a-z0-9.:-]*$/.test(host)
}

/**
 * Tells whether the files that `ssh -v` has named may say different things about different hosts. A
 * replacement for ssh may not name its files.
 */
function dependsOnHost(said: string): boolean {
  if (!/^OpenSSH_/m.test(said)) return true
  return [...said.matchAll(/^debug1: Reading configuration data (.*?)\r?$/gm)].some(([, file = '']) =>
    fileDepends(file),
  )
}

function fileDepends(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').split('\n').some(lineDepends)
  } catch {
    // ssh was able to read its file, so this path leads to another file, or the file is being changed.
    return true
  }
}

function lineDepends(line: string): boolean {
  const text = line.trim()
  if (text === '' || text.startsWith('#')) return false
  const [, keyword = '', rest = ''] = /^([A-Za-z]+)(?:\s*=\s*|\s+)(.*)$/.exec(text) ?? []
  const name = keyword.toLowerCase()
  if (name === 'host') return rest !== '*'
  // An Include line needs no check, because ssh also names each included file.
  return name === '' || dependent.test(name) || (rest.includes('%') && !unfilled.test(name))
}

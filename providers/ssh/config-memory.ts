import type { Run } from '../../src/core/run.js'
import type { LoginRequest, UserSshConfig } from '../../src/core/ssh.js'

/** A function that queries the system's ssh for the configuration of a host. */
export type AskConfig = (host: string, run: Run, login: LoginRequest) => Promise<UserSshConfig>

/** Time for which an answer is reused, so that the look at a host and its login share one answer. */
const holdsForMs = 10_000

interface Answer {
  readonly at: number
  readonly config: Promise<UserSshConfig>
}

/**
 * Wraps `ask` so that equal questions of one run share one answer. A later question asks again, because the user may
 * have changed the configuration after a failed login. A failed question is also asked again.
 */
export function rememberConfig(ask: AskConfig, now: () => number = () => performance.now()): AskConfig {
  const answers = new WeakMap<Run, Map<string, Answer>>()
  return (host, run, login) => {
    const ofRun = answers.get(run) ?? new Map<string, Answer>()
    answers.set(run, ofRun)
    const question = JSON.stringify([host, login.user, login.port, login.sshOptions])
    const known = ofRun.get(question)
    if (known !== undefined && now() - known.at < holdsForMs) return known.config
    const config = ask(host, run, login)
    ofRun.set(question, { at: now(), config })
    config.catch(() => ofRun.delete(question))
    return config
  }
}

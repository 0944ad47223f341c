import type { Run } from '../../src/core/run.js'
import type { LoginRequest, UserSshConfig } from '../../src/core/ssh.js'

/** The function that asks the system's ssh about a host. */
export type AskConfig = (host: string, run: Run, login: LoginRequest) => Promise<UserSshConfig>

/** Time for which an answer is reused: the look at a host and the login after it share one answer. */
const holdsForMs = 10_000

interface Answer {
  readonly at: number
  readonly config: Promise<UserSshConfig>
}

/**
 * Makes a function that asks once for several equal questions of one run. A later question of the run asks again,
 * because the user may have changed the configuration after a failed login. A failed question is asked again too.
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

import type { LocalCommands } from '../core/context.js'
import type { ConnectOptions, Host, Ssh, SshTarget } from '../core/ssh.js'
import type { Keepalive } from './attempt.js'
import { probe, waitForBanner } from './banner.js'
import { renderConfig } from './config-file.js'
import { type ConnectTools, logIn, showsKey } from './connect.js'
import { Connection } from './connection.js'
import { GreetedConnections } from './greeted.js'
import { RemoteHost } from './host.js'
import { ensureKeyPair } from './keys.js'
import { SharedAnswers } from './shared-answers.js'
import { withSshOptions } from './ssh-options.js'
import { resolveUserConfig } from './user-config.js'

/**
 * The keepalive notices a frozen or lost machine after a minute. A guest under emulation may stall for half a minute.
 */
const keepalive: Keepalive = { intervalMs: 15_000, countMax: 3 }

export interface SshDependencies {
  readonly local: LocalCommands
  readonly env: Readonly<Record<string, string | undefined>>
  readonly homeDir: string
  readonly keepalive?: Keepalive
}

export function createSsh(dependencies: SshDependencies): Ssh {
  const { local, env, homeDir } = dependencies
  const shared = new SharedAnswers()
  const greeted = new GreetedConnections()
  const tools: ConnectTools = { local, env, greeted, keepalive: dependencies.keepalive ?? keepalive }
  const followed = (target: SshTarget) => withSshOptions(target, { env, homeDir })
  return {
    connect: async (target, options) => connect(target, followed(target), options, tools),
    waitForBanner: async (target, options) => waitForBanner(followed(target), options, tools),
    probe: async (target, options) => probe(followed(target), options, tools),
    showsKey: async (target, options) => showsKey(followed(target), options, tools),
    ensureKeyPair: (file, run) => ensureKeyPair(file, run, local),
    resolveUserConfig: (host, run, login) =>
      resolveUserConfig(host, run, login, { local, env, homeDir, shared }),
    renderConfig: (targets, files) => renderConfig(targets, files, { env, homeDir }),
  }
}

async function connect(
  asked: SshTarget,
  followed: SshTarget,
  options: ConnectOptions,
  tools: ConnectTools,
): Promise<{ host: Host; hostKey: string }> {
  const { client, hostKey } = await logIn(followed, options, tools)
  const connection = new Connection(client, followed)
  return { host: new RemoteHost(connection, { ...asked, hostKey }, options), hostKey }
}

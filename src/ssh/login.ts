import type { AgentAuthMethod, ParsedKey, PublicKeyAuthMethod } from 'ssh2'
import { unreachable } from '../core/errors.js'
import { shellQuote } from '../core/shell-quote.js'
import type { SshTarget } from '../core/ssh.js'
import { type Certificate, findCertificates } from './certificates.js'
import { agentKeys, ChosenAgentKeys, describeKey, type Identity, loadIdentity } from './identities.js'

/** The identities that are offered to the server in order, and the unusable identities. */
export interface Login {
  readonly methods: readonly (AgentAuthMethod | PublicKeyAuthMethod)[]
  /** The names of the offered keys for error messages: `agent key SHA256:… (me@here)`, `/home/me/.ssh/id_rsa`. */
  readonly offered: readonly string[]
  readonly identities: readonly Identity[]
  /** Identities that need an agent, although no agent holds their private half. */
  readonly wantAgent: readonly Identity[]
  /** Finds certificates that ssh would offer but hydra-ops cannot offer; only error messages mention them. */
  certificates(): Promise<readonly Certificate[]>
}

/** Plans a login, first with the agent's keys (listed keys before other keys, as in ssh), then with key files. */
export async function planLogin(
  target: SshTarget,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Login> {
  const identities = target.identityFiles.map(loadIdentity)
  const socket = target.useAgent ? (target.agentSocket ?? env.SSH_AUTH_SOCK) : undefined
  const agent = socket === '' ? undefined : socket
  const held = agent === undefined ? [] : await agentKeys(agent)
  const chosen = chooseAgentKeys(held, identities, target.identitiesOnly === true)
  const username = target.user
  const methods: (AgentAuthMethod | PublicKeyAuthMethod)[] = []
  if (socket !== undefined && chosen.length > 0) {
    methods.push({ type: 'agent', username, agent: new ChosenAgentKeys(socket, chosen) })
  }
  const byFile = identities.filter((identity) => !isHeld(held, identity))
  for (const identity of byFile) {
    if (identity.kind === 'usable') methods.push({ type: 'publickey', username, key: identity.key })
  }
  return {
    methods,
    offered: [
      ...chosen.map((key) => `agent key ${describeKey(key)}`),
      ...byFile.filter(({ kind }) => kind === 'usable').map(({ file }) => file),
    ],
    identities,
    wantAgent: byFile.filter(({ kind }) => kind === 'encrypted' || kind === 'security-key'),
    certificates: () => findCertificates(target, agent),
  }
}

function chooseAgentKeys(
  held: readonly ParsedKey[],
  identities: readonly Identity[],
  onlyListed: boolean,
): ParsedKey[] {
  const listed = identities.flatMap((identity) => held.filter((key) => sameKey(key, identity)))
  return onlyListed ? listed : [...listed, ...held.filter((key) => !listed.includes(key))]
}

function isHeld(held: readonly ParsedKey[], identity: Identity): boolean {
  return held.some((key) => sameKey(key, identity))
}

function sameKey(key: ParsedKey, identity: Identity): boolean {
  return identity.blob?.equals(key.getPublicSSH()) ?? false
}

/** Builds the error for a login without any key, before a connection is opened. */
export async function nothingToOffer(target: SshTarget, login: Login): Promise<Error> {
  const { machine, user, host } = target
  const certificates = await login.certificates()
  return unreachable(
    machine,
    `machine '${machine}': hydra-ops has no key to log in as ${user}@${host}${notOffered(certificates)}`,
    withDetail(login, {
      hint: agentHint(login) ?? certificateHint(target, certificates) ?? noKeyHint(target),
    }),
  )
}

export async function loginRefused(target: SshTarget, login: Login, said: string): Promise<Error> {
  const { machine, user, host, port } = target
  const certificates = await login.certificates()
  const tooMany = /too many authentication failures/i.test(said)
  const hint = tooMany
    ? 'the agent holds more keys than the server accepts; set IdentityFile and IdentitiesOnly in ~/.ssh/config'
    : (agentHint(login) ??
      certificateHint(target, certificates) ??
      `add one of these keys to ~${user}/.ssh/authorized_keys on the machine`)
  const offered = login.offered.join(', ')
  return unreachable(
    machine,
    `machine '${machine}': ${host}:${port} refuses the login of '${user}' with ${offered}${notOffered(certificates)}`,
    withDetail(login, { hint }),
  )
}

function notOffered(certificates: readonly Certificate[]): string {
  const names = certificates.map(({ name }) => name).join(', ')
  if (certificates.length === 0) return ''
  return certificates.length === 1
    ? `; the certificate ${names} was not offered`
    : `; the certificates ${names} were not offered`
}

function certificateHint(
  { host, port, user }: SshTarget,
  certificates: readonly Certificate[],
): string | undefined {
  if (certificates.length === 0) return undefined
  const key = certificates.find(({ publicKey }) => publicKey !== undefined)?.publicKey
  const advice =
    key === undefined
      ? `add its public key to ~${user}/.ssh/authorized_keys`
      : `ssh-copy-id -f -i ${shellQuote(key)} -p ${port} ${shellQuote(`${user}@${host}`)}`
  return `hydra-ops logs in with plain keys, not with certificates; allow the key itself on the machine: ${advice}`
}

function agentHint(login: Login): string | undefined {
  const [first] = login.wantAgent
  if (first === undefined) return undefined
  const why = first.kind === 'encrypted' ? 'is protected by a passphrase' : 'belongs to a security key'
  return `'${first.file}' ${why}, so only an agent can use the key: ssh-add ${shellQuote(first.file)}`
}

function noKeyHint(target: SshTarget): string {
  return target.useAgent
    ? 'start an agent and add a key (ssh-add), or set IdentityFile for this host in ~/.ssh/config'
    : 'check the identity file, which is missing or cannot be read'
}

function withDetail(login: Login, facts: { hint: string }): { hint: string; detail?: string } {
  const lines = login.identities.flatMap((identity) =>
    identity.kind === 'unreadable' ? [`${identity.file}: ${identity.reason}`] : [],
  )
  return lines.length === 0 ? facts : { ...facts, detail: lines.join('\n') }
}

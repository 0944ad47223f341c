import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import type { SshTarget } from '../core/ssh.js'
import { typeOf } from './host-key.js'

/** A certificate that the system's ssh would offer but ssh2 cannot offer. */
export interface Certificate {
  /** The name for errors: a file, or `of the agent (comment)`. */
  readonly name: string
  /** The file of the certified public key, if known. */
  readonly publicKey: string | undefined
}

/** Finds the certificates that ssh would use: beside the keys, named in the configuration, and in the agent. */
export async function findCertificates(
  target: Pick<SshTarget, 'identityFiles' | 'certificateFiles'>,
  agentSocket: string | undefined,
): Promise<Certificate[]> {
  const keys = target.identityFiles.map((file) => file.replace(/\.pub$/, ''))
  const publicKeyOf = (key: string | undefined) =>
    key !== undefined && existsSync(`${key}.pub`) ? `${key}.pub` : undefined
  const beside = keys.map((key) => ({ name: `${key}-cert.pub`, publicKey: publicKeyOf(key) }))
  const [onlyKey] = keys.length === 1 ? keys : []
  const named = (target.certificateFiles ?? []).map((name) => ({
    name,
    publicKey: publicKeyOf(onlyKey),
  }))
  const held = agentSocket === undefined ? [] : await agentCertificates(agentSocket)
  return [
    ...[...beside, ...named].filter(({ name }) => existsSync(name)),
    ...held.map((comment) => ({ name: `of the agent (${comment})`, publicKey: undefined })),
  ]
}

/** The request SSH_AGENTC_REQUEST_IDENTITIES (draft-ietf-sshm-ssh-agent). */
const requestIdentities = Buffer.from([0, 0, 0, 1, 11])
const identitiesAnswer = 12
const agentMs = 5_000
/** OpenSSH's own size limit for a message of the agent. */
const longestAnswer = 256 * 1024

/** Lists the comments of an agent's certificates, which ssh2 leaves out; returns `[]` when no agent answers. */
function agentCertificates(socket: string): Promise<string[]> {
  return new Promise((resolve) => {
    let received: Buffer = Buffer.alloc(0)
    const agent = connect(socket)
    const done = (comments: string[]) => {
      clearTimeout(timer)
      agent.destroy()
      resolve(comments)
    }
    const timer = setTimeout(() => done([]), agentMs)
    agent.on('error', () => done([]))
    agent.on('close', () => done([]))
    agent.on('data', (chunk) => {
      received = Buffer.concat([received, chunk])
      const length = received.length < 4 ? longestAnswer : received.readUInt32BE(0)
      if (received.length >= 4 + length) done(commentsOf(received.subarray(4, 4 + length)))
      else if (received.length > longestAnswer) done([])
    })
    agent.write(requestIdentities)
  })
}

function commentsOf(answer: Buffer): string[] {
  if (answer[0] !== identitiesAnswer) return []
  const comments: string[] = []
  let at = 5
  const next = (): Buffer | undefined => {
    if (at + 4 > answer.length) return undefined
    const field = answer.subarray(at + 4, at + 4 + answer.readUInt32BE(at))
    at += 4 + field.length
    return field
  }
  for (let blob = next(), comment = next(); blob !== undefined && comment !== undefined; ) {
    if (/-cert-v\d+@openssh\.com$/.test(typeOf(blob))) comments.push(comment.toString('utf8'))
    blob = next()
    comment = next()
  }
  return comments
}

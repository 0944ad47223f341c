import { describe, expect, it } from 'vitest'
import { OpsError } from '../../src/core/errors.js'
import type { AttemptFailed } from '../../src/ssh/attempt.js'
import { connectError, mayPass } from '../../src/ssh/connect-errors.js'
import type { Login } from '../../src/ssh/login.js'
import { nothingToOffer } from '../../src/ssh/login.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const login: Login = {
  methods: [],
  offered: ['agent key SHA256:abc (me@here)', '/home/me/.ssh/id_rsa'],
  identities: [],
  wantAgent: [],
  certificates: async () => [],
}

function failed(changes: Partial<AttemptFailed>): AttemptFailed {
  return {
    kind: 'failed',
    phase: 'dial',
    code: undefined,
    message: '',
    said: '',
    timedOut: false,
    ...changes,
  }
}

async function errorOf(changes: Partial<AttemptFailed>, withLogin: Login = login): Promise<OpsError> {
  const error = await connectError(sshTarget(), withLogin, failed(changes), 30_000)
  if (!(error instanceof OpsError)) throw error
  return error
}

describe('an error of a connection', () => {
  it.each<[string, Partial<AttemptFailed>]>([
    ['the port is closed', { code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' }],
    ['there is no route to the host', { code: 'EHOSTUNREACH', message: 'x' }],
    ['the host name cannot be resolved', { code: 'ENOTFOUND', message: 'x' }],
    ['no answer within 30 s', { timedOut: true, message: 'x' }],
    [
      'the server accepted the connection but sent nothing within 30 s',
      { timedOut: true, phase: 'banner', message: 'x' },
    ],
    ['the server did not finish the login within 30 s', { timedOut: true, phase: 'login', message: 'x' }],
    ['before it sends anything', { phase: 'banner', message: 'Connection lost before handshake' }],
    ['the server does not speak SSH', { phase: 'banner', message: 'Invalid identification string' }],
    [
      'no matching key exchange algorithm',
      { phase: 'banner', message: 'Handshake failed: no matching key exchange algorithm' },
    ],
    ['the connection broke during the login', { phase: 'login', code: 'ECONNRESET', message: 'x' }],
    ['through its jump host', { phase: 'banner', message: 'x', said: 'me@jump: Permission denied' }],
  ])('says: %s', async (sentence, facts) => {
    const error = await errorOf(facts)
    expect(error.message).toContain(sentence)
    expect(error.message).toContain("machine 'web': 192.0.2.1:22")
    expect(error).toMatchObject({ code: 'UNREACHABLE', exitCode: 4, machine: 'web' })
    expect(error.hint).not.toBe('')
  })

  it('names every identity that was refused', async () => {
    const error = await errorOf({ phase: 'login', message: 'All configured authentication methods failed' })
    expect(error.message).toContain('agent key SHA256:abc (me@here), /home/me/.ssh/id_rsa')
    expect(error.hint).toContain('authorized_keys')
  })

  it('shows the output of a proxy', async () => {
    expect((await errorOf({ message: 'x', said: 'Host key verification failed.' })).detail).toContain(
      'Host key',
    )
  })

  it('points to ssh-add when a key with a passphrase was left out', async () => {
    const wantAgent = [{ file: '/home/me/a key', kind: 'encrypted', blob: undefined }] as const
    const error = await errorOf(
      { phase: 'login', message: 'All configured authentication methods failed' },
      { ...login, wantAgent },
    )
    expect(error.hint).toBe(
      "'/home/me/a key' is protected by a passphrase, so only an agent can use the key: ssh-add '/home/me/a key'",
    )
  })

  it('explains an agent with too many keys', async () => {
    const error = await errorOf({ phase: 'login', message: 'Too many authentication failures' })
    expect(error.hint).toContain('IdentitiesOnly')
  })
})

describe('a login without any key', () => {
  it('names the files that could not be read, and ssh-add for a security key', async () => {
    const error = await nothingToOffer(sshTarget({ useAgent: true }), {
      ...login,
      identities: [{ file: '/k', kind: 'unreadable', blob: undefined, reason: 'Unsupported key format' }],
      wantAgent: [{ file: '/sk', kind: 'security-key', blob: Buffer.from('x') }],
    })
    expect(error).toMatchObject({
      hint: "'/sk' belongs to a security key, so only an agent can use the key: ssh-add /sk",
      detail: '/k: Unsupported key format',
    })
  })
})

describe('the error of a login that needs a certificate', () => {
  const certificates = [
    { name: '/home/me/.ssh/id_rsa-cert.pub', publicKey: undefined },
    { name: 'of the agent (me@ca)', publicKey: undefined },
  ]

  it('names every certificate that was not offered, and the remedy', async () => {
    const refused = { phase: 'login', message: 'All configured authentication methods failed' } as const
    const error = await errorOf(refused, { ...login, certificates: async () => certificates })
    expect(error.message).toMatch(
      /; the certificates \/home\/me\/\.ssh\/id_rsa-cert\.pub, of the agent \(me@ca\) were not offered$/,
    )
    expect(error.hint).toContain(
      'allow the key itself on the machine: add its public key to ~root/.ssh/authorized_keys',
    )
  })

  it('names the agent first when the key of the certificate is locked', async () => {
    const wantAgent = [{ file: '/sk', kind: 'security-key' as const, blob: Buffer.from('x') }]
    const error = await nothingToOffer(sshTarget(), {
      ...login,
      wantAgent,
      certificates: async () => certificates,
    })
    expect(error).toMatchObject({
      message: expect.stringContaining('were not offered'),
      hint: expect.stringContaining('ssh-add /sk'),
    })
  })
})

describe('the check for passing errors', () => {
  it.each<[boolean, string, Partial<AttemptFailed>]>([
    [true, 'sshd dropped us unseen', { phase: 'banner', message: 'Connection lost before handshake' }],
    [true, 'a reset', { phase: 'banner', code: 'ECONNRESET' }],
    [
      true,
      'the jump’s sshd dropped us',
      { said: 'kex_exchange_identification: Connection closed by remote host' },
    ],
    [false, 'a closed port', { code: 'ECONNREFUSED' }],
    [false, 'a refused login', { phase: 'login', message: 'All configured authentication methods failed' }],
    [false, 'a deadline', { timedOut: true }],
    [false, 'a jump that refuses', { said: 'Permission denied (publickey)' }],
  ])('answers %s for: %s', (expected, _what, facts) => {
    expect(mayPass(failed(facts))).toBe(expected)
  })
})

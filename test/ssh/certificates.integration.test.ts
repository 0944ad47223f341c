import { execFileSync } from 'node:child_process'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { SshTarget } from '../../src/core/ssh.js'
import { type SshAgent, startSshAgent } from '../fixtures/ssh-agent.js'
import { makeKey, type Sshd, startSshd } from '../fixtures/sshd.js'
import { connected, never, testSsh, userSshConfig } from '../fixtures/sshd-session.js'

let folder: string
let agent: SshAgent
/** The paths of a key with its certificate, of the certificate alone, and of the key without a certificate. */
let signed: string
let certificate: string
let bare: string
/** An sshd that trusts the signing authority; no authorized_keys has the key. */
let sshd: Sshd

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'hydra-ops-signed-'))
  const authority = makeKey(folder, 'authority')
  signed = makeKey(folder, 'signed')
  const user = userInfo().username
  execFileSync('ssh-keygen', ['-q', '-s', authority, '-I', 'me', '-n', user, `${signed}.pub`], {
    stdio: 'pipe',
  })
  certificate = join(folder, 'elsewhere.pub')
  copyFileSync(`${signed}-cert.pub`, certificate)
  bare = join(folder, 'bare')
  copyFileSync(signed, bare)
  sshd = await startSshd({ config: [`TrustedUserCAKeys ${authority}.pub`] })
  agent = await startSshAgent(folder)
})

afterAll(async () => {
  agent.stop()
  await sshd.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Logs in like `hydra-ops ssh`: with the system's ssh and hydra-ops's configuration. */
function systemSsh(target: SshTarget): string {
  const knownHosts = join(folder, 'known_hosts')
  const rendered = testSsh().renderConfig([target], { knownHosts })
  writeFileSync(join(folder, 'config'), rendered.config)
  writeFileSync(knownHosts, rendered.knownHosts)
  return execFileSync('ssh', ['-F', join(folder, 'config'), 'web', 'echo in'], {
    encoding: 'utf8',
    stdio: 'pipe',
  })
}

describe('the error of a server that accepts certificates only', () => {
  it('names the certificate beside the key, and the remedy', async () => {
    const target = sshd.target({ identityFiles: [signed] })
    expect(systemSsh(target)).toBe('in\n')
    await expect(connected(target)).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: `machine 'web': 127.0.0.1:${sshd.port} refuses the login of '${sshd.user}' with ${signed}; the certificate ${signed}-cert.pub was not offered`,
      hint: `hydra-ops logs in with plain keys, not with certificates; allow the key itself on the machine: ssh-copy-id -f -i ${signed}.pub -p ${sshd.port} ${sshd.user}@127.0.0.1`,
    })
  })

  it('names a CertificateFile of ssh_config, which lets hydra-ops ssh in', async () => {
    const config = `Host web\n  IdentityFile "${bare}"\n  CertificateFile "${certificate}"\n`
    const user = userSshConfig(config)
    const wish = { user: sshd.user, port: sshd.port, sshOptions: [] }
    const found = await testSsh({ env: user.env, homeDir: user.folder }).resolveUserConfig(
      'web',
      { signal: never, log: () => {} },
      wish,
    )
    user.remove()
    const target = sshd.target({
      identityFiles: found.identityFiles,
      certificateFiles: found.certificateFiles,
    })
    expect(systemSsh(target)).toBe('in\n')
    await expect(connected(target)).rejects.toThrow(`the certificate ${certificate} was not offered`)
  })

  it('names a CertificateFile of sshOptions', async () => {
    const target = sshd.target({
      identityFiles: [bare],
      sshOptions: ['-o', `CertificateFile=${certificate}`],
    })
    expect(systemSsh(target)).toBe('in\n')
    await expect(connected(target)).rejects.toThrow(`the certificate ${certificate} was not offered`)
  })

  it('names a certificate that only the agent holds', async () => {
    const environment = { ...process.env, SSH_AUTH_SOCK: agent.socket }
    execFileSync('ssh-add', ['-q', signed], { env: environment, stdio: 'pipe' })
    const target = sshd.target({ identityFiles: [], useAgent: true, agentSocket: agent.socket })
    expect(systemSsh(target)).toBe('in\n')
    await expect(connected(target)).rejects.toMatchObject({
      message: expect.stringMatching(/; the certificate of the agent \(.*signed.*\) was not offered$/),
      hint: expect.stringContaining('allow the key itself on the machine'),
    })
  })

  it('does not mention certificates when there are none', async () => {
    await expect(connected(sshd.target({ identityFiles: [bare] }))).rejects.toMatchObject({
      message: expect.not.stringContaining('certificate'),
      hint: expect.not.stringContaining('certificate'),
    })
  })
})

it('the agent is asked for its keys once when the login succeeds', async () => {
  const socket = join(folder, 'counted')
  let questions = 0
  const before = createServer((client) => {
    const real = connect(agent.socket)
    client.on('data', (message: Buffer) => {
      // The byte after the four length bytes is SSH_AGENTC_REQUEST_IDENTITIES.
      if (message[4] === 11) questions += 1
    })
    client.on('error', () => real.destroy()).pipe(real)
    real.on('error', () => client.destroy()).pipe(client)
  })
  await new Promise<void>((resolve) => before.listen(socket, resolve))
  execFileSync('ssh-add', ['-q', sshd.identityFile], {
    env: { ...process.env, SSH_AUTH_SOCK: agent.socket },
    stdio: 'pipe',
  })
  const target = sshd.target({ identityFiles: [], useAgent: true, agentSocket: socket })
  const host = await connected(target)
  host.close()
  before.close()
  expect(questions).toBe(1)
})

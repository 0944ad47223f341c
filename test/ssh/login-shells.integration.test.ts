import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startSshd } from '../fixtures/sshd.js'
import { connected, remote } from '../fixtures/sshd-session.js'

const noisy = (folder: string, shell: string) => `${join(folder, 'noisy-login-shell')} ${shell}`

// sshd runs the shell in /etc/passwd, which a test cannot choose; ForceCommand starts another shell.
describe.each(['bash', 'dash', 'fish', 'tcsh'])('a login shell %s that prints', (shell) => {
  it('changes no result and is recognised as noisy', async () => {
    const sshd = await startSshd({ forceCommand: (folder) => noisy(folder, shell) })
    const host = await connected(sshd.target())
    const result = await host.script(
      'printf "%s|" "$@"; printf err >&2; exit 3',
      ["it's", '$(id) !!', 'a\nb'],
      remote(),
    )
    expect(result).toEqual({ kind: 'exited', code: 3, stdout: "it's|$(id) !!|a\nb|", stderr: 'err' })
    expect(host.noisyShell).toBe(true)
    const echoed = await host.exec(['cat'], remote({ stdin: 'to the byte\n' }))
    expect(echoed.stdout).toBe('to the byte\n')
    host.close()
    await sshd.stop()
  })
})

describe('a login shell', () => {
  it('can be trusted with a binary protocol when it is silent', async () => {
    const sshd = await startSshd()
    const host = await connected(sshd.target())
    await host.exec(['true'], remote())
    expect(host.noisyShell).toBe(false)
    host.close()
    await sshd.stop()
  })

  it('is an error with its words when it runs nothing', async () => {
    const sshd = await startSshd({ forceCommand: () => 'echo This account is closed.; exit 1' })
    const attempt = async () => (await connected(sshd.target())).exec(['true'], remote())
    await expect(attempt()).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: expect.stringContaining('ends at once (status 1)'),
      detail: 'This account is closed.',
    })
    await sshd.stop()
  })
})

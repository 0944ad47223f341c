import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { Host } from '../../src/core/ssh.js'
import { type Sshd, startSshd, sudoPassword } from '../fixtures/sshd.js'
import { connected, processesWith, remote, until } from '../fixtures/sshd-session.js'

// An sshd with stand-ins for sudo and id; real guests test the real sudo.
let sshd: Sshd

beforeAll(async () => {
  sshd = await startSshd({ sudo: 'password' })
})

afterAll(() => sshd.stop())

const state = (name: string) => join(sshd.sudoState, name)
const sudoLog = () => readFileSync(state('log'), 'utf8')

async function withHost(
  options: { readonly password?: string; readonly privilegeEscalation?: readonly string[] },
  action: (host: Host) => Promise<void>,
): Promise<void> {
  const { password, privilegeEscalation } = options
  const target = sshd.target(privilegeEscalation === undefined ? {} : { privilegeEscalation })
  const host = await connected(target, password === undefined ? {} : { sudoPassword: async () => password })
  try {
    // The first command finds out how to become root.
    expect(host.escalation).toBe('untried')
    await host.exec(['true'], remote())
    await action(host)
  } finally {
    host.close()
  }
}

beforeEach(() => {
  rmSync(state('nopasswd'), { force: true })
  rmSync(state('ticket'), { force: true })
  rmSync(state('refuses'), { force: true })
  rmSync(state('denies'), { force: true })
  writeFileSync(state('log'), '')
})

/** Counts the sessions that sshd has begun. */
function sessionsIn(log: string): number {
  return log.split('Starting session: command').length - 1
}

/** Checks everything that must hold for each way to become root. */
async function actsAsRoot(host: Host): Promise<void> {
  const id = await host.exec(['id', '-u'], remote())
  expect(id).toMatchObject({ kind: 'exited', code: 0, stdout: '0\n', stderr: '' })
  const own = await host.exec(['id', '-u'], remote({ asLoginUser: true }))
  expect(own.stdout).toBe('1000\n')
  const echoed = await host.exec(['cat'], remote({ stdin: 'secret\nof many\nlines' }))
  expect(echoed.stdout).toBe('secret\nof many\nlines')
  const streamed = await host.exec(['cat'], remote({ stdin: Readable.from(['a stream ', 'of text']) }))
  expect(streamed.stdout).toBe('a stream of text')
  const without = await host.script('cat; printf "%s;" "$@"; exit 4', ["a'b", '$(id)'], remote())
  expect(without).toMatchObject({ code: 4, stdout: "a'b;$(id);" })
  // The text is longer than an argument may be, so that the transport cannot use one.
  const long = 'é'.repeat(40_000)
  const large = await host.script('cat; printf "%s," "$@"', [long, long], remote({ stdin: 'in ' }))
  expect(large.stdout).toBe(`in ${long},${long},`)
}

describe('sudo without a password', () => {
  it('is used without a question', async () => {
    writeFileSync(state('nopasswd'), '')
    await withHost({}, async (host) => {
      expect(host.escalation).toBe('sudo')
      await actsAsRoot(host)
    })
    expect(sudoLog()).not.toContain('-S')
  })

  it('keeps the command legible in the log of sudo', async () => {
    writeFileSync(state('nopasswd'), '')
    await withHost({}, async (host) => {
      await host.exec(['systemctl', '--version'], remote())
    })
    expect(sudoLog()).toContain("exec 'systemctl' '--version'")
  })
})

describe('sudo with a recent ticket', () => {
  it('asks for the password only when the ticket has run out, and repeats a command that did not begin', async () => {
    writeFileSync(state('ticket'), '')
    let asked = 0
    const host = await connected(sshd.target(), {
      sudoPassword: async () => {
        asked++
        return sudoPassword
      },
    })
    expect((await host.exec(['id', '-u'], remote())).stdout).toBe('0\n')
    expect(host.escalation).toBe('sudo')
    expect(asked).toBe(0)
    rmSync(state('ticket'))
    const results = await Promise.all(
      ['a', 'b', 'c'].map((stdin) => host.exec(['cat'], remote({ stdin: Readable.from([stdin]) }))),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(['a', 'b', 'c'])
    expect(asked).toBe(1)
    expect(host.escalation).toBe('sudo-password')
    host.close()
  })

  it('is an error that says so when it runs out with nobody to ask', async () => {
    writeFileSync(state('ticket'), '')
    await withHost({}, async (host) => {
      rmSync(state('ticket'))
      await expect(host.exec(['id'], remote())).rejects.toMatchObject({ code: 'SUDO_PASSWORD' })
    })
  })
})

describe('sudo with a password', () => {
  it('acts as root, and the password reaches nothing but sudo', async () => {
    await withHost({ password: sudoPassword }, async (host) => {
      expect(host.escalation).toBe('sudo-password')
      await actsAsRoot(host)
    })
    expect(sudoLog()).not.toContain(sudoPassword)
  })

  it('never gives the password to the command, even when sudo no longer asks for it', async () => {
    await withHost({ password: sudoPassword }, async (host) => {
      writeFileSync(state('nopasswd'), '')
      const { stdout } = await host.exec(['cat'], remote({ stdin: 'input' }))
      expect(stdout).toBe('input')
      const nothing = await host.exec(['cat'], remote())
      expect(nothing.stdout).toBe('')
    })
  })

  it('is asked for once per connection', async () => {
    let asked = 0
    const host = await connected(sshd.target(), {
      sudoPassword: async () => {
        asked++
        return sudoPassword
      },
    })
    await Promise.all(Array.from({ length: 5 }, () => host.exec(['true'], remote())))
    expect(asked).toBe(1)
    host.close()
  })

  it('is one clear error when it is wrong', async () => {
    const error = await withHost({ password: 'wrong' }, async () => {}).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'SUDO_PASSWORD', machine: 'web' })
    expect(error).toHaveProperty('message', expect.stringContaining('did not accept the password'))
    expect(error).toHaveProperty('detail', expect.not.stringContaining('lecture'))
  })

  it.each(['', 'two\nlines'])('is not sent when it is impossible (%j)', async (password) => {
    await expect(withHost({ password }, async () => {})).rejects.toMatchObject({ code: 'SUDO_PASSWORD' })
    expect(sudoLog()).not.toContain('-S')
  })

  it('is an error with the remedy when there is nobody to ask', async () => {
    await expect(withHost({}, async () => {})).rejects.toMatchObject({
      code: 'SUDO_PASSWORD',
      hint: expect.stringContaining('NOPASSWD'),
    })
  })

  it('ends a cancelled command as root', async () => {
    await withHost({ password: sudoPassword }, async (host) => {
      const mark = `34${Date.now()}`
      const cancel = new AbortController()
      const running = host.exec(['sleep', mark], remote({ signal: cancel.signal }))
      running.catch(() => {})
      await until('it runs', () => processesWith(`sleep ${mark}`).length > 0)
      cancel.abort()
      await expect(running).rejects.toMatchObject({ code: 'INTERRUPTED' })
      await until('it is gone', () => processesWith(`sleep ${mark}`).length === 0)
    })
  })
})

describe('sudo that refuses for a reason other than a password', () => {
  it.each([
    'sudo: sorry, you must have a tty to run sudo',
    'sudo: PAM account management error: Permission denied',
    'sudo: you do not exist in the passwd database',
    'Sorry, user me may not run sudo on web.',
  ])('shows the words of sudo, and asks for no password: %s', async (said) => {
    writeFileSync(state('refuses'), `${said}\n`)
    let asked = false
    const password = async () => {
      asked = true
      return sudoPassword
    }
    const host = await connected(sshd.target(), { sudoPassword: password })
    await expect(host.exec(['true'], remote())).rejects.toMatchObject({
      code: 'NO_SUDO',
      message: expect.stringContaining(said),
    })
    host.close()
    expect(asked).toBe(false)
  })

  it.each(['me is not in the sudoers file.', 'Sorry, user me may not run sudo on web.'])(
    'shows the words of sudo once the password was right: %s',
    async (said) => {
      writeFileSync(state('denies'), `${said}\n`)
      await expect(withHost({ password: sudoPassword }, async () => {})).rejects.toMatchObject({
        message: expect.stringContaining(said),
      })
    },
  )

  it('also reports a refusal that begins on an open connection', async () => {
    writeFileSync(state('nopasswd'), '')
    await withHost({ password: sudoPassword }, async (host) => {
      writeFileSync(state('refuses'), 'sudo: sorry, you must have a tty to run sudo\n')
      await expect(host.exec(['id'], remote())).rejects.toMatchObject({
        code: 'NO_SUDO',
        message: expect.stringContaining('you must have a tty'),
        hint: expect.stringContaining('!requiretty'),
      })
    })
  })
})

describe('the first commands of a connection', () => {
  it('find the way to root at the same time, and keep their own input', async () => {
    writeFileSync(state('nopasswd'), '')
    const host = await connected(sshd.target())
    const results = await Promise.all(
      ['a', 'b', 'c'].map((stdin) => host.exec(['cat'], remote({ stdin: Readable.from([stdin]) }))),
    )
    expect(results.map(({ stdout }) => stdout)).toEqual(['a', 'b', 'c'])
    expect(host.escalation).toBe('sudo')
    host.close()
  })

  it('run in one session each', async () => {
    writeFileSync(state('nopasswd'), '')
    const before = sessionsIn(sshd.log())
    const host = await connected(sshd.target())
    expect((await host.exec(['id', '-u'], remote())).stdout).toBe('0\n')
    host.close()
    expect(sessionsIn(sshd.log()) - before).toBe(1)
  })

  it('say by themselves, and not in the name of sudo, that a program is missing', async () => {
    writeFileSync(state('nopasswd'), '')
    const host = await connected(sshd.target())
    const { stderr, ...result } = await host.exec(['no-such-program'], remote())
    expect(result).toMatchObject({ kind: 'exited', code: 127 })
    expect(stderr).toMatch(/^sh: .*no-such-program: not found/)
    host.close()
  })

  it('ask for the password also after a long text of sudo', async () => {
    writeFileSync(state('refuses'), `${'terms of use, '.repeat(1_000)}\nsudo: a password is required\n`)
    const host = await connected(sshd.target(), { sudoPassword: async () => '' })
    await expect(host.exec(['id'], remote())).rejects.toMatchObject({ code: 'SUDO_PASSWORD' })
    host.close()
  })

  it('keep a long text that no argument may hold', async () => {
    writeFileSync(state('nopasswd'), '')
    const host = await connected(sshd.target())
    const long = 'é'.repeat(40_000)
    const { stdout } = await host.script('cat; printf "%s," "$@"', [long, long], remote({ stdin: 'in ' }))
    expect(stdout).toBe(`in ${long},${long},`)
    host.close()
  })
})

describe('a connection for the login user alone', () => {
  it.each([
    ['sudo that asks for a password', ['sudo', '-H', '--']],
    ['no sudo', ['no-such-program']],
    ['no way to become root', []],
  ])('is made when there is %s, and asks for nothing', async (_, privilegeEscalation) => {
    const host = await connected(sshd.target({ privilegeEscalation }))
    expect((await host.exec(['id', '-u'], remote({ asLoginUser: true }))).stdout).toBe('1000\n')
    expect(sudoLog()).toBe('')
    await expect(host.exec(['id'], remote())).rejects.toMatchObject({
      code: expect.stringMatching(/^(SUDO_PASSWORD|NO_SUDO|NOT_ROOT)$/),
    })
    host.close()
  })
})

describe('a program in the place of sudo', () => {
  it('is called as deployment.privilegeEscalationCommand says', async () => {
    await withHost({ privilegeEscalation: ['env', 'STANDIN_ROOT=yes'] }, async (host) => {
      expect(host.escalation).toBe('sudo')
      await actsAsRoot(host)
    })
    expect(existsSync(state('ticket'))).toBe(false)
  })

  it('is named when it does not exist', async () => {
    await expect(withHost({ privilegeEscalation: ['doas'] }, async () => {})).rejects.toMatchObject({
      code: 'NO_SUDO',
      message: expect.stringContaining("'doas' is not installed"),
    })
  })

  it('does not count as root when it runs the command as somebody else', async () => {
    await expect(withHost({ privilegeEscalation: ['env'] }, async () => {})).rejects.toMatchObject({
      code: 'NO_SUDO',
    })
  })
})

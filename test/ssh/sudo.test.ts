import { describe, expect, it } from 'vitest'
import { encode, framedScript, quote, syncLine } from '../../src/ssh/command-line.js'
import { canTakePassword, launchAsRoot, noEscalation, passwordRefused } from '../../src/ssh/sudo.js'
import { sshTarget } from '../fixtures/sshd-target.js'

const nonce = { left: '0123456789abcdef', right: 'fedcba9876543210' }
const password = { kind: 'sudo-password', password: 'geheim' } as const

function decoded(command: string): string {
  return command.replace(/\\0([0-7]{3})/g, (_, octal: string) =>
    String.fromCharCode(Number.parseInt(octal, 8)),
  )
}

describe('launchAsRoot', () => {
  it('uses no sudo for root', () => {
    const launch = launchAsRoot(nonce, 'exec id', sshTarget(), { kind: 'root' })
    expect(decoded(launch.command)).not.toContain('sudo')
    expect(launch).toMatchObject({ atOnce: '', afterMark: '' })
  })

  it('adds -n when no password is needed, and keeps the script legible in the log of sudo', () => {
    const launch = launchAsRoot(nonce, 'exec id', sshTarget({ user: 'me' }), { kind: 'sudo' })
    expect(decoded(launch.command)).toContain(
      `exec 'sudo' '-n' '-H' '--' sh -c ${quote(framedScript(nonce, 'exec id', false))}`,
    )
  })

  it('sends the password before anything else, never in the command, and ends it by a sync line', () => {
    const launch = launchAsRoot(nonce, 'exec id', sshTarget({ user: 'me' }), password)
    expect(decoded(launch.command)).toContain(`'sudo' '-k' '-S' '-p' '' '-H' '--' sh -c`)
    expect(launch.command + decoded(launch.command)).not.toContain('geheim')
    expect(launch.atOnce).toBe('geheim\n')
    expect(launch.afterMark).toBe(`${syncLine(nonce)}\n`)
  })

  it('hands a script that is too long for an argument over stdin, after the password', () => {
    const script = `: ${'x'.repeat(150_000)}`
    const launch = launchAsRoot(nonce, script, sshTarget({ user: 'me' }), password)
    expect(launch.command.length).toBeLessThan(1_000)
    expect(launch.atOnce.startsWith('geheim\nscript-')).toBe(true)
    expect(launch.atOnce).toContain(encode(script))
  })

  it('finds the way to root by itself in the first command', () => {
    const launch = launchAsRoot(nonce, 'exec id', sshTarget({ user: 'me' }), { kind: 'untried' })
    const command = decoded(launch.command)
    expect(command).toContain(`if [ "$(id -u)" = 0 ]; then set -- ; _ops_way=root`)
    expect(command).toContain(`else set -- 'sudo' '-n' '-H' '--'; _ops_way=sudo`)
    expect(command.indexOf('|| exit 1')).toBeLessThan(command.indexOf('{%s %s %s'))
  })

  it('calls doas without asking, and any other program as it is given', () => {
    const doas = sshTarget({ user: 'me', privilegeEscalation: ['/usr/bin/doas'] })
    expect(decoded(launchAsRoot(nonce, 'x', doas, { kind: 'sudo' }).command)).toContain(
      `exec '/usr/bin/doas' '-n' sh -c`,
    )
    const other = sshTarget({ user: 'me', privilegeEscalation: ['become', '--root'] })
    expect(decoded(launchAsRoot(nonce, 'x', other, { kind: 'sudo' }).command)).toContain(
      `exec 'become' '--root' sh -c`,
    )
    expect(canTakePassword(doas)).toBe(false)
  })
})

describe('a refused sudo', () => {
  const target = sshTarget({ user: 'me' })

  it('distinguishes a wrong password from a user without the right, without the lecture', () => {
    const lecture = 'We trust you have received the usual lecture from the local System Administrator.\n'
    const wrong = passwordRefused({
      target,
      said: `${lecture}Sorry, try again.\nsudo: 1 incorrect password attempt`,
    })
    expect(wrong.message).toContain("did not accept the password of user 'me'")
    expect(wrong).toHaveProperty('detail', 'sudo: 1 incorrect password attempt')
    const notAllowed = passwordRefused({ target, said: `${lecture}me is not in the sudoers file.` })
    expect(notAllowed.message).toContain(
      "user 'me' cannot become root with sudo; the program says: me is not in the sudoers file.",
    )
    // The message already contains the detail.
    expect(notAllowed).toHaveProperty('detail', undefined)
  })

  it.each([
    [127, ['sudo', '-H', '--'], "'sudo' is not installed on the machine"],
    [1, ['doas'], "user 'me' cannot become root with 'doas'"],
    [1, [], 'privilegeEscalationCommand is empty'],
  ])('is reported with status %i and %j', (status, privilegeEscalation, sentence) => {
    const error = noEscalation({ target: { ...target, privilegeEscalation }, said: '' }, status)
    expect(error.message).toContain(sentence)
    expect(error).toHaveProperty('hint', expect.stringContaining('deployment.targetUser = "root"'))
  })
})

import { describe, expect, it } from 'vitest'
import {
  createVBoxManage,
  isAbsent,
  parseVersion,
  readOutcome,
  withoutWarning,
} from '../../../providers/virtualbox/vboxmanage.js'
import { failure } from '../../../src/core/errors.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import { transcript } from './transcripts.js'

const warning = [
  'WARNING: The character device /dev/vboxdrv does not exist.',
  '\t Please install the virtualbox-dkms package and the appropriate',
  '\t headers, most likely linux-headers-<last part of uname -r>.',
  '',
  '\t You will not be able to start VMs until this problem is fixed.',
  '',
].join('\n')

function failureOf(number: string) {
  const outcome = readOutcome(transcript(number))
  if (outcome.kind === 'done') throw new Error(`${number} succeeded`)
  return outcome.failure
}

describe('the answer of VBoxManage', () => {
  it.each([
    ['115', 'not-found', "Could not find a registered machine named 'no-such-vm'"],
    ['116', 'not-found', 'Could not find a registered machine with UUID'],
    ['350', 'not-found', 'No storage device attached'],
    ['301', 'in-use', "Storage controller named 'SATA' already exists"],
    ['351', 'in-use', 'still attached to the following 1 virtual machine(s)'],
    ['353', 'no-file', 'Could not find file for the medium'],
    ['343', 'no-file', 'Could not find file for the medium'],
    ['311', 'file-exists', 'Failed to create medium; Could not create the medium storage unit'],
    ['101', 'other', "Machine settings file '/srv/vms/nx-web/nx-web.vbox' already exists"],
    ['803', 'locked', "The machine 'run1' is already locked by a session"],
    ['804', 'locked', "The machine 'run1' is already locked for a session"],
    ['805', 'locked', "Cannot unregister the machine 'run1' while it is locked"],
    ['826', 'wrong-state', 'The machine is not mutable (state is Saved)'],
    ['911', 'inaccessible', 'The object functionality is limited'],
  ])('is classified by its code in transcript %s as %s', (number, complaint, message) => {
    expect(failureOf(number)).toMatchObject({ complaint, message: expect.stringContaining(message) })
  })

  it.each(['207', '209', '854', '558'])(
    'has no complaint of ours in transcript %s, and yet fails',
    (number) => {
      expect(failureOf(number).complaint).not.toBe('not-found')
      expect(failureOf(number).message).not.toBe('')
    },
  )

  it('is a failure although the exit status is 0, when stderr has an error', () => {
    expect(transcript('561').code).toBe(0)
    expect(failureOf('561')).toMatchObject({ complaint: 'wrong-state' })
  })

  it('is a success although stderr has progress or a warning', () => {
    for (const number of ['310', '213', '222']) expect(readOutcome(transcript(number)).kind).toBe('done')
  })

  it('is a failure without an error too, when the exit status says so', () => {
    expect(failureOf('450')).toMatchObject({
      complaint: 'other',
      stdout: expect.stringContaining('does not have any snapshots'),
    })
  })

  it('keeps the error and leaves out the usage text of 40 KB', () => {
    expect(failureOf('004').message).toBe("Invalid command 'frobnicate'")
    expect(failureOf('208').message).toBe("Missing or invalid argument to '--natpf'")
  })

  it('has the exit status as its message where VBoxManage says nothing', () => {
    expect(failureOf('237').message).toMatch(/status 1/)
  })

  it('names the cause after progress: the second and third error explain more than the first', () => {
    expect(failureOf('322').message).toBe(
      "Failed to clone medium; Could not create the clone medium '/srv/vms/c1.vdi'.; VDI: cannot create image '/srv/vms/c1.vdi' (VERR_ALREADY_EXISTS)",
    )
  })

  it('tells a killed program from a failed one', () => {
    const killed: CommandResult = { kind: 'killed', signal: 'SIGKILL', stdout: '', stderr: '' }
    expect(readOutcome(killed)).toMatchObject({ kind: 'failed', failure: { complaint: 'other' } })
  })

  it('does not depend on the words: a translated error has the same code', () => {
    const german = transcript('115').stderr.replace(/Could not find.*/, "Maschine 'x' wurde nicht gefunden")
    const outcome = readOutcome({ ...transcript('115'), stderr: german })
    expect(outcome).toMatchObject({ kind: 'failed', failure: { complaint: 'not-found' } })
  })
})

describe('the warning about a missing driver', () => {
  it('is dropped before the output', () => {
    const { stdout } = transcript('110')
    expect(withoutWarning(`${warning}${stdout}`)).toBe(stdout)
    expect(readOutcome({ ...transcript('110'), stdout: `${warning}${stdout}` })).toEqual({
      kind: 'done',
      stdout,
    })
  })

  it('leaves nothing of an empty output', () => {
    expect(withoutWarning(warning)).toBe('')
  })

  it('does not hide the version, whatever its text is', () => {
    const oracle = 'WARNING: The vboxdrv kernel module is not loaded. Either there is no module\n'
    const version = transcript('001').stdout
    expect(parseVersion(`${warning}${version}`)).toBe('7.2.22_Debianr175245')
    expect(
      parseVersion(
        `${oracle}         available for the current kernel (6.1.0) or it failed.\n7.0.20r163906\n`,
      ),
    ).toBe('7.0.20r163906')
    expect(parseVersion(oracle)).toBeUndefined()
  })
})

describe('a call', () => {
  const run = { signal: new AbortController().signal, log: () => {} }
  const parts = (answers: CommandResult[], calls: (readonly string[])[] = []) => ({
    program: '/opt/VBoxManage',
    hostRoot: '/nonexistent',
    uid: 1000,
    local: {
      run: async (argv: readonly string[], options: { env?: Readonly<Record<string, string>> }) => {
        calls.push([...argv, `LC_ALL=${options.env?.LC_ALL}`])
        const [answer] = answers.length > 1 ? answers.splice(0, 1) : answers
        if (answer === undefined) throw failure('NOT_INSTALLED', 'no VBoxManage here')
        return answer
      },
    },
  })

  it('asks the named program in the C locale', async () => {
    const calls: (readonly string[])[] = []
    await createVBoxManage(parts([transcript('005')], calls)).must(['list', 'vms'], { what: 'look' }, run)
    expect(calls).toEqual([['/opt/VBoxManage', 'list', 'vms', 'LC_ALL=C']])
  })

  it('is repeated while another session has the lock', async () => {
    const vbox = createVBoxManage(parts([transcript('804'), transcript('804'), transcript('200')]))
    expect(await vbox.attemptUnlocked(['modifyvm', 'x'], { what: 'change' }, run)).toMatchObject({
      kind: 'done',
    })
  })

  it('names the machine and the action in its error', async () => {
    const vbox = createVBoxManage(parts([transcript('115')]))
    await expect(
      vbox.must(['showvminfo'], { what: 'look at it', machine: 'web' }, run),
    ).rejects.toMatchObject({
      code: 'VIRTUALBOX',
      machine: 'web',
      message: expect.stringMatching(
        /^machine 'web': cannot look at it: Could not find a registered machine/,
      ),
    })
  })

  it('of a missing program is told from a failure', async () => {
    const error = await createVBoxManage(parts([]))
      .attempt(['--version'], { what: 'ask' }, run)
      .catch((thrown: unknown) => thrown)
    expect(isAbsent(error)).toBe(true)
    expect(isAbsent(failure('VIRTUALBOX', 'x'))).toBe(false)
  })
})

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { StateFolder } from '../../src/core/deployment.js'
import type { PasswordSource } from '../../src/core/hydra-users.js'
import { DeploymentUuid, MachineName } from '../../src/core/names.js'
import { localCommands } from '../../src/exec/local-commands.js'
import { type SecretKeeper, taskSecrets } from '../../src/tasks/secrets.js'
import { deploymentPaths } from '../../state/paths.js'
import { createSecretFiles } from '../../state/secrets.js'

let folder: string
let asked: string[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'ho-secrets-'))
  mkdirSync(join(folder, 'keys'), { mode: 0o700 })
  asked = []
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** A state folder that is also its own deployment folder. */
const files: StateFolder = {
  get root() {
    return folder
  },
  paths: (of) => ({ ...deploymentPaths(folder, of), root: folder }),
}
const uuid = DeploymentUuid.parse('0b7c3d1e-1111-4a2b-9c3d-000000000001')

function keeper(writable = true): SecretKeeper {
  return {
    machine: MachineName.parse('ci'),
    secrets: createSecretFiles(files).of(uuid),
    writable,
    local: localCommands,
    questions: {
      secret: async (question) => {
        asked.push(question)
        return 'typed'
      },
    },
    signal: new AbortController().signal,
    known: new Map(),
  }
}

function need(source: Partial<PasswordSource>) {
  return {
    name: 'hydra-user-alice',
    what: "password of Hydra's user 'alice'",
    source: { prompt: false, generate: false, ...source },
  }
}

function file(text: string): Partial<PasswordSource> {
  writeFileSync(join(folder, 'password'), text)
  return { file: join(folder, 'password') }
}

const read = (source: Partial<PasswordSource>) => taskSecrets(keeper()).read(need(source))

describe('a password', () => {
  const strange = 'pä"s\'s \\ $(false) `x` %n #;& \t*'

  it.each([
    ['from a file', 'hunter2', 'hunter2'],
    ['with a newline at its end, which is the file’s', 'hunter2\n', 'hunter2'],
    ['with the line end of Windows', 'hunter2\r\n', 'hunter2'],
    ['with every special character', `${strange}\n`, strange],
    ['of 200 characters', 'x'.repeat(200), 'x'.repeat(200)],
    ['with blanks around it', ' a ', ' a '],
  ])('is taken unchanged: %s', async (_, text, password) => {
    expect(await read(file(text))).toBe(password)
  })

  it.each([
    ['empty', '', 'it is empty'],
    ['nothing but a newline', '\n', 'it is empty'],
    ['of two lines', 'a\nb\n', 'it has more than one line'],
    ['with a NUL', 'a\0b', 'it has more than one line'],
  ])('is refused: %s', async (_, text, why) => {
    await expect(read(file(text))).rejects.toThrow(`machine 'ci': password of Hydra's user 'alice': ${why}`)
  })

  it('is reported when its file is missing', async () => {
    await expect(read({ file: join(folder, 'none') })).rejects.toThrow(
      /its file .*none cannot be read \(ENOENT\)/,
    )
  })

  it('comes from a command, whose messages are not shown', async () => {
    expect(await read({ command: ['printf', '%s\\n', 'from "pass"'] })).toBe('from "pass"')
    const failing = read({ command: ['sh', '-c', 'echo hunter2; echo hunter2 >&2; exit 3'] })
    const error = await failing.catch((thrown: unknown) => thrown)
    expect(String(error)).toContain("'sh', ended with status 3")
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
  })

  it('is given up after two minutes when its command hangs, and the command is ended', async () => {
    const mark = join(folder, 'hung')
    const patient = keeper()
    const asked: number[] = []
    const impatient: SecretKeeper = {
      ...patient,
      local: {
        run: (argv, options) => {
          asked.push(options.timeoutMs)
          return patient.local.run(argv, { ...options, timeoutMs: 3_000 })
        },
      },
    }
    const command = ['sh', '-c', `echo hunter2; echo hunter2 >&2; echo $$ > ${mark}; exec sleep 600`]
    const hanging = taskSecrets(impatient).read(need({ command }))
    const error = await hanging.catch((thrown: unknown) => thrown)
    expect(String(error)).toContain("the command for the password of Hydra's user 'alice'")
    expect(JSON.stringify(error) + String(error)).not.toContain('hunter2')
    expect(asked).toEqual([120_000])
    expect(existsSync(`/proc/${readFileSync(mark, 'utf8').trim()}`)).toBe(false)
  })

  it('is reported when its command is missing', async () => {
    await expect(read({ command: ['no-such-password-store', 'hydra/alice'] })).rejects.toThrow(
      /no-such-password-store/,
    )
  })

  it('is not waited for after Ctrl-C', async () => {
    const ctrl = new AbortController()
    const mark = join(folder, 'asked')
    const secrets = taskSecrets({ ...keeper(), signal: ctrl.signal })
    const reading = secrets.read(need({ command: ['sh', '-c', `touch ${mark}; exec sleep 600`] }))
    const ended = expect(reading).rejects.toMatchObject({ code: 'INTERRUPTED' })
    await vi.waitFor(() => expect(existsSync(mark)).toBe(true), { timeout: 60_000 })
    ctrl.abort()
    await ended
  })

  it('is requested once in a run', async () => {
    const secrets = taskSecrets(keeper())
    expect([await secrets.read(need({ prompt: true })), await secrets.read(need({ prompt: true }))]).toEqual([
      'typed',
      'typed',
    ])
    expect(asked).toEqual(["password of Hydra's user 'alice', machine 'ci'"])
  })

  it('is generated once, kept for the operator alone, and the same ever after', async () => {
    const first = await read({ generate: true })
    expect(first).toMatch(/^[\w-]{24}$/)
    expect(await read({ generate: true })).toBe(first)
    const [name = ''] = readdirSync(join(folder, 'keys'))
    expect((statSync(join(folder, 'keys', name)).mode & 0o777).toString(8)).toBe('600')
  })
})

describe('the check whether a password changed', () => {
  const print = (source: Partial<PasswordSource>, writable = true) =>
    taskSecrets(keeper(writable)).fingerprint(need(source))

  it('reads a file', async () => {
    const first = await print(file('a'))
    expect(await print(file('a\n'))).toBe(first)
    expect(await print(file('b'))).not.toBe(first)
  })

  it('does not run a command in a dry run', async () => {
    const marked = { command: ['touch', join(folder, 'ran')] }
    expect(await print(marked, false)).toBeUndefined()
    expect(readdirSync(folder)).not.toContain('ran')
  })

  it('asks nobody, and generates nothing', async () => {
    expect(await print({ prompt: true })).toBe('prompt')
    await print({ generate: true })
    expect([asked, readdirSync(join(folder, 'keys'))]).toEqual([[], []])
  })
})

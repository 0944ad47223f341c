import { tmpdir } from 'node:os'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ShellSession, shellSession } from './shell-session.js'

const deadlineMs = 60_000
let shell: ShellSession
beforeEach(() => {
  shell = shellSession({ cwd: tmpdir(), env: { PATH: process.env.PATH ?? '', GREETING: 'hello' } })
})
afterEach(() => shell.dispose())

it('the session keeps the variables and the folder of earlier commands', async () => {
  await shell.run('name=world\ncd /\nsay() { echo "$1"; }', deadlineMs)
  expect(await shell.run('say "$GREETING $name from $PWD"', deadlineMs)).toBe('hello world from /\n')
})

it('the session returns both outputs of a command', async () => {
  expect(await shell.run('echo one; echo two >&2; echo three', deadlineMs)).toBe('one\ntwo\nthree\n')
})

it('the session gives a command no input', async () => {
  expect(await shell.run('cat\necho end', deadlineMs)).toBe('end\n')
})

it.each([
  ['a command that fails', 'echo before\nfalse\necho after', /failed with 1:[\s\S]*before/],
  ['one within a pipe', 'false | cat', /failed with 1/],
  ['one that ends the shell', 'exit 3', /failed with 3/],
])('the session ends with %s, and names those commands', async (_, commands, why) => {
  const failed = shell.run(commands, deadlineMs)
  await expect(failed).rejects.toThrow(why)
  await expect(failed).rejects.toThrow(commands)
  expect(shell.alive).toBe(false)
  await expect(shell.run('true', deadlineMs)).rejects.toThrow('an earlier command has failed')
})

it('the session ends a command that does not end by itself', async () => {
  // The first command waits for the shell's start, so that the deadline below covers only the second command.
  await shell.run('true', deadlineMs)
  await expect(shell.run('echo begun\nsleep 1000', 2_000)).rejects.toThrow(/not done after 2 s[\s\S]*begun/)
  await expect.poll(() => shell.alive, { timeout: deadlineMs }).toBe(false)
})

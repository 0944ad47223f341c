import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { packageRoot } from '../../src/core/package-root.js'

const folder = mkdtempSync(join(tmpdir(), 'ho-count-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Counts a report of one test, which fails with this message unless the message is undefined. */
function count(message: string | undefined): Promise<{ code: number | string | null; stdout: string }> {
  const report = join(folder, 'report.json')
  const status = message === undefined ? 'passed' : 'failed'
  const test = {
    status,
    fullName: 'the machine answers',
    failureMessages: message === undefined ? [] : [message],
  }
  writeFileSync(
    report,
    JSON.stringify({
      numTotalTests: 1,
      numPassedTests: message === undefined ? 1 : 0,
      numFailedTests: message === undefined ? 0 : 1,
      success: message === undefined,
      testResults: [{ name: 'a.test.ts', status, assertionResults: [test] }],
    }),
  )
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      [join(packageRoot(), 'scripts', 'count-tests.mjs'), '0', report],
      (error, stdout) => resolve({ code: error === null ? 0 : (error.code ?? null), stdout }),
    )
  })
}

it('a passed test is only counted', async () => {
  expect(await count(undefined)).toEqual({ code: 0, stdout: '1 passed, 0 failed\n' })
})

it('a failed command is shown with its standard error, and without the stack trace', async () => {
  const { code, stdout } = await count(
    'Error: hydra-ops ssh web exited with 255\nssh: connection refused\n\n    at ok (operator.ts:93:15)\n    at on (web.test.ts:30:9)',
  )
  expect(code).toBe(1)
  expect(stdout).toBe(
    'failed: a.test.ts › the machine answers\n' +
      '        Error: hydra-ops ssh web exited with 255\n' +
      '        ssh: connection refused\n' +
      '0 passed, 1 failed\n',
  )
})

it('a long error keeps its first and last lines', async () => {
  const { stdout } = await count(Array.from({ length: 500 }, (_, index) => `line ${index}`).join('\n'))
  expect(stdout).toContain('        line 0\n')
  expect(stdout).toContain('        line 499\n')
  expect(stdout).not.toContain('line 250')
  expect(stdout.split('\n').length).toBeLessThan(30)
})

// Adds up vitest's JSON reports: `count-tests.mjs FAILED_STEPS REPORT…`. The program names each failed test with the
// start of its error, because people read only the end. The last line is `N passed, N failed`. The exit status
// is 1 unless at least one test passed and nothing failed. A missing report, an unloadable file, a failing hook, an
// unhandled error and a skipped test also count as failures.
import { readFileSync } from 'node:fs'

const [failedSteps = '0', ...reports] = process.argv.slice(2)
/** Most lines of an error, and most characters of such a line, that the end of a run shows. */
const mostLines = 20
const mostCharacters = 300
const totals = { passed: 0, failed: Number(failedSteps) }

for (const report of reports) {
  const result = read(report)
  if (result === undefined) {
    totals.failed += 1
    console.log(`failed: the tests of ${report} left no report`)
    continue
  }
  const skipped = result.numTotalTests - result.numPassedTests - result.numFailedTests
  const broken = result.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  )
  for (const file of broken) console.log(`failed: ${file.name}\n        ${startOf(file.message)}`)
  for (const file of result.testResults) {
    for (const test of file.assertionResults.filter(({ status }) => status !== 'passed')) {
      console.log(
        `${test.status}: ${file.name} › ${test.fullName}\n        ${startOf(test.failureMessages?.[0])}`,
      )
    }
  }
  const failed = result.numFailedTests + skipped + broken.length
  totals.passed += result.numPassedTests
  totals.failed += failed === 0 && !result.success ? 1 : failed
}

console.log(`${totals.passed} passed, ${totals.failed} failed`)
process.exitCode = totals.failed === 0 && totals.passed > 0 ? 0 : 1

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/**
 * Returns the error without the stack trace. A long output keeps its start and its end, which holds the error of a
 * failed command.
 */
function startOf(text = '') {
  const lines = text.split('\n')
  const trace = lines.findIndex((line) => /^\s+at .*:\d+/.test(line))
  const said = (trace < 0 ? lines : lines.slice(0, trace)).filter((line) => line.trim() !== '')
  const shown =
    said.length <= mostLines ? said : [...said.slice(0, mostLines / 2), '…', ...said.slice(-mostLines / 2)]
  return shown.map((line) => line.slice(0, mostCharacters)).join('\n        ')
}

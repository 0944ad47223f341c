import { expect, it } from 'vitest'
import { optionName } from '../../src/core/option-name.js'

it.each<[readonly (string | number)[], string]>([
  [['deployment', 'targetHost'], 'deployment.targetHost'],
  [['deployment', 'files', '/etc/motd', 'mode'], 'deployment.files."/etc/motd".mode'],
  [['deployment', 'healthChecks', 'http', 0, 'port'], 'deployment.healthChecks.http.0.port'],
  [['deployment', 'keys', "it's-me"], "deployment.keys.it's-me"],
  [['deployment', 'keys', '7'], 'deployment.keys."7"'],
  [['deployment', 'keys', 'in'], 'deployment.keys."in"'],
  [['deployment', 'keys', '${x} "y"'], 'deployment.keys."\\${x} \\"y\\""'],
])('the option %j is shown as %s', (path, shown) => {
  expect(optionName(path)).toBe(shown)
})

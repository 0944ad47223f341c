import { expect, it } from 'vitest'
import { CommonOptions } from '../../src/core/common-options.js'
import { targetOptions } from '../../src/machine/resource.js'

it.each([
  [{}, undefined, undefined],
  [{ targetHost: 'a' }, 'a', undefined],
  [{ targetHosts: ['b'] }, 'b', undefined],
  // NixOS machines define their own targetHost with a low priority.
  [{ targetHost: 'a', targetHosts: ['b', 'c'] }, 'b', ['b', 'c']],
])('deployment.targetHosts takes the place of targetHost: %j', (options, host, hosts) => {
  const target = targetOptions(CommonOptions.parse(options))
  expect([target.host, target.hosts]).toEqual([host, hosts])
})

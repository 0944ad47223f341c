import { describe, expect, it } from 'vitest'
import { hydraPorts } from '../../../src/setup/hydra/ports.js'
import { hydraSettings } from '../../../src/setup/hydra/settings.js'
import { taskMachine } from '../../fakes/task-run.js'

const classic = { runner: 'goes-to-builders', metrics: true } as const

function ports(hydra: Record<string, unknown> = {}, facts: Parameters<typeof hydraPorts>[1] = classic) {
  const settings = hydraSettings(taskMachine({ hydra: { enable: true, ...hydra } }))
  if (settings === undefined) throw new Error('no Hydra is wanted')
  return hydraPorts(settings, facts)
}

const ofRunner = (extraConfig: string) =>
  ports({ extraConfig }).flatMap(({ unit, port }) => (unit === 'hydra-queue-runner.service' ? [port] : []))

describe('the ports of Hydra', () => {
  it('are three with a program for logs of running builds, which only nginx makes reachable', () => {
    const facts = { ...classic, programs: new Set(['hydra-ws']) }
    const of = (hydra: Record<string, unknown>) => ports(hydra, facts).map(({ port }) => port)
    expect(of({ nginx: { enable: true } })).toEqual([3000, 9283, 9198])
    expect(of({})).toEqual([3000, 9198])
  })

  it('are those of the web server and of the metrics of a queue runner in C++', () => {
    expect(ports({ port: 3001 })).toEqual([
      {
        port: 3001,
        unit: 'hydra-server.service',
        hint: 'stop that program, or set deployment.hydra.port to another port',
      },
      {
        port: 9198,
        unit: 'hydra-queue-runner.service',
        hint: 'stop that program, or set another address in deployment.hydra.extraConfig: queue_runner_metrics_address = 127.0.0.1:9199 (an included file is not read)',
      },
    ])
  })

  it('are the web server’s alone when the queue runner is older and offers no metrics', () => {
    expect(ports({}, { ...classic, metrics: false }).map(({ port }) => port)).toEqual([3000])
  })

  it('are those of status and web server when builders connect to the queue runner', () => {
    const newer = ports({ queueRunnerPort: 8081 }, { runner: 'takes-builders', metrics: false })
    expect(newer.map(({ port, unit }) => [port, unit])).toEqual([
      [3000, 'hydra-server.service'],
      [8081, 'hydra-queue-runner.service'],
    ])
  })

  it.each<[string, number[]]>([
    ['queue_runner_metrics_address = 127.0.0.1:9199', [9199]],
    ['queue_runner_metrics_address=[::]:9200 # everybody', [9200]],
    ['queue_runner_metrics_address = 9201', [9201]],
    ['queue_runner_metrics_address = 127.0.0.1:9202,[::1]:9203', [9202, 9203]],
    ['queue_runner_metrics_address = 127.0.0.1:0', []],
    ['queue_runner_metrics_address = 127.0.0.1:9199\nqueue_runner_metrics_address = 127.0.0.1:9204', [9204]],
    ['<x>\n  queue_runner_metrics_address = 127.0.0.1:9205\n</x>', [9205]],
    // Only the Perl parts read lines without an equals sign.
    ['queue_runner_metrics_address 127.0.0.1:9206', [9198]],
    ['# queue_runner_metrics_address = 127.0.0.1:9199', [9198]],
  ])('are taken from %j as the queue runner reads it', (extraConfig, expected) => {
    expect(ofRunner(extraConfig)).toEqual(expected)
  })
})

import type { HydraOptions } from '../../core/hydra-options.js'
import type { ServicePort } from '../../remote/taken-port.js'
import type { HydraFacts } from './package-facts.js'
import { type DaemonSettings, hasLiveLogs, liveLogsPort } from './settings.js'

const runnerUnit = 'hydra-queue-runner.service'

/**
 * Lists the ports of Hydra's services. A service whose port is taken exits and restarts forever; hydra-server
 * even exits with status 0 (measured).
 */
export function hydraPorts(
  {
    options,
  }: {
    readonly options: Pick<HydraOptions, 'port' | 'queueRunnerPort' | 'extraConfig'> &
      Pick<DaemonSettings['options'], 'nginx'>
  },
  {
    runner,
    metrics,
    programs,
  }: Pick<HydraFacts, 'runner' | 'metrics'> & Partial<Pick<HydraFacts, 'programs'>>,
): ServicePort[] {
  const another = (option: string) => `stop that program, or set deployment.hydra.${option} to another port`
  const web = [
    { port: options.port, unit: 'hydra-server.service', hint: another('port') },
    ...(hasLiveLogs({ options }, programs)
      ? [{ port: liveLogsPort, unit: 'hydra-ws.service', hint: 'stop that program' }]
      : []),
  ]
  if (runner === 'takes-builders')
    return [...web, { port: options.queueRunnerPort, unit: runnerUnit, hint: another('queueRunnerPort') }]
  if (!metrics) return web
  const hint = `stop that program, or set another address in deployment.hydra.extraConfig: ${metricsOption} = 127.0.0.1:9199 (an included file is not read)`
  return [...web, ...metricsPorts(options.extraConfig).map((port) => ({ port, unit: runnerUnit, hint }))]
}

const metricsOption = 'queue_runner_metrics_address'

/**
 * Finds the metrics ports of a queue runner in C++, which reads hydra.conf itself. The runner reads every line with
 * an equal sign, also within blocks, and uses the last line of a name. The value is one or more addresses in
 * civetweb's format, such as `[::]:9198` or `9198`.
 */
function metricsPorts(extraConfig: string): number[] {
  const values = extraConfig.split('\n').flatMap((line) => {
    const [name = '', ...rest] = line.replace(/#.*$/, '').split('=')
    return name.trim() === metricsOption && rest.length > 0 ? [rest.join('=').trim()] : []
  })
  const addresses = (values.at(-1) ?? '127.0.0.1:9198').split(',')
  const ports = addresses.map((address) =>
    Number(/(?:^|:|\+)(\d{1,5})[rso]*$/.exec(address.trim())?.[1] ?? 0),
  )
  // The kernel chooses a free port for port 0.
  return ports.filter((port) => port > 0 && port < 65536)
}

import * as z from 'zod'
import { documented, shownAs } from './option-docs.js'

const seconds = shownAs('seconds', z.number().positive())
const port = shownAs('port', z.number().int().min(1).max(65535))

const everyCheck = {
  description: documented(
    z.string().optional(),
    'name of the check in the log and in errors',
    'the front page answers',
    { shownDefault: 'kind and target of the check' },
  ),
  period: documented(seconds.default(2), 'time between attempts', 5),
  timeout: documented(seconds.default(5), 'time of one attempt', 10),
  total: documented(seconds.default(60), 'time until the check has failed for good', 300),
}

const host = documented(
  z.string().nullish(),
  'a host that the operator host can reach, instead of the machine',
  'www.example.org',
  { shownDefault: 'the machine itself' },
)

/** `deployment.healthChecks` and `deployment.preDeployChecks`: lists of checks by their kind. */
export const HealthChecks = z.strictObject({
  cmd: z
    .array(
      z.strictObject({
        ...everyCheck,
        cmd: documented(z.array(z.string()).min(1), 'command that is run on the machine; 0 is healthy', [
          'systemctl',
          'is-system-running',
        ]),
      }),
    )
    .default([]),
  http: z
    .array(
      z.strictObject({
        ...everyCheck,
        host,
        scheme: documented(
          z.enum(['http', 'https']).default('http'),
          'scheme of the URL; a status of 200 to 299 is healthy',
          'https',
        ),
        port: documented(port, 'port of the server', 8080),
        path: documented(z.string().startsWith('/').default('/'), 'path of the URL', '/health'),
        headers: documented(z.record(z.string(), z.string()).default({}), 'headers of the request', {
          Host: 'www.example.org',
        }),
        insecureSSL: documented(z.boolean().default(false), 'take any certificate', true),
      }),
    )
    .default([]),
  tcp: z
    .array(
      z.strictObject({
        ...everyCheck,
        host,
        port: documented(port, 'port of the server', 8080),
      }),
    )
    .default([]),
  systemd: z
    .array(
      z.strictObject({
        ...everyCheck,
        unit: documented(z.string().min(1), 'unit of the machine; active is healthy', 'nginx.service'),
      }),
    )
    .default([]),
})
export type HealthChecks = z.infer<typeof HealthChecks>

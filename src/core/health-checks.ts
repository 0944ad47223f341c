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
  period: documented(seconds.default(2), 'pause between two attempts', 5),
  timeout: documented(seconds.default(5), 'deadline of one attempt', 10),
  total: documented(seconds.default(60), 'time after which the check fails for good', 300),
}

const host = documented(
  z.string().nullish(),
  'host to check, as the operator host reaches it',
  'www.example.org',
  { shownDefault: 'the machine itself' },
)

/** `deployment.healthChecks` and `deployment.preDeployChecks`: lists of checks, by kind. */
export const HealthChecks = z.strictObject({
  cmd: z
    .array(
      z.strictObject({
        ...everyCheck,
        cmd: documented(
          z.array(z.string()).min(1),
          'command to run on the machine; exit status 0 is healthy',
          ['systemctl', 'is-system-running'],
        ),
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
        insecureSSL: documented(z.boolean().default(false), 'accepts any certificate', true),
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
        unit: documented(
          z.string().min(1),
          'unit of the machine; the state `active` is healthy',
          'nginx.service',
        ),
      }),
    )
    .default([]),
})
export type HealthChecks = z.infer<typeof HealthChecks>

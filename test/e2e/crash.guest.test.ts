import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type DeployedGuest, deployedGuest } from './deployed-guest.js'
import type { Ended } from './operator.js'

let box: DeployedGuest
beforeAll(async () => {
  box = await deployedGuest()
})
afterAll(() => box?.dispose())

function everything({ stdout, stderr }: Ended): string {
  return `${stdout}\n${stderr}`
}

/** Changes the network so that every stage of a deploy has work. */
function want(mark: string): void {
  box.want({
    conf: mark,
    more: `deployment.packages = [ (tool "tool-${mark}") ];
    deployment.cacheKey = { enable = true; directory = "/etc/key-${mark}"; };
    deployment.keys.token.text = "token of ${mark}";
    deployment.activate = program "counting-${mark}" "activate" ''
      #!/bin/sh
      echo run >> /var/lib/runs-${mark}
    '';
    deployment.units."box.service".text = ''
      [Service]
      ExecStart=/bin/sh -c '\${tool "tool-${mark}"}/bin/tool-${mark}; exec sleep infinity'
      [Install]
      WantedBy=multi-user.target
    '';`,
  })
}

async function lastEvent(): Promise<unknown> {
  const history: unknown = JSON.parse(await box.operator.ok(['history', '-d', 'box', '--json']))
  return Array.isArray(history) ? history.at(-1)?.event : undefined
}

const everyPoint = [
  'deploy.begin',
  'copy',
  'keys.delivered',
  'activate.start',
  'activate.result',
  'task.done',
]
/** The most important points; HYDRA_OPS_CRASH_POINTS=all selects every point. */
const points =
  process.env.HYDRA_OPS_CRASH_POINTS === 'all' ? everyPoint : ['copy', 'activate.start', 'activate.result']

describe('a killed deploy', () => {
  it.each(points)('is made good by the same command after it wrote "%s"', async (event) => {
    const mark = event.replace('.', '-')
    want(mark)
    const env = { HYDRA_OPS_TEST_STOP_AFTER_WRITE: event }
    const killed = await box.operator.run(['deploy', '-d', 'box'], { env })
    expect(killed.code, everything(killed)).toBe(null)
    expect(await lastEvent()).toBe(event)

    const again = await box.deploy()
    expect(again.code, everything(again)).toBe(0)
    const seen = await box.guest.sh(`cat /etc/box.conf /run/keys/token; echo
tool-${mark}; systemctl is-active box.service; ls /etc/key-${mark}
wc -l < /var/lib/runs-${mark}
systemctl list-units --all --no-legend --plain 'hydra-ops-2*.service'`)
    expect(seen).toBe(`${mark}\ntoken of ${mark}\nhello\nactive\ncache.pub\ncache.sec\n1`)
    const third = await box.deploy('--check')
    expect(third.code, everything(third)).toBe(0)
    expect(everything(third)).toContain('Up-to-date')
  })
})

import { describe, expect, it } from 'vitest'
import type { MachineResult } from '../../src/core/events.js'
import { MachineName } from '../../src/core/names.js'
import type { Plan } from '../../src/core/plan.js'
import type { CheckReport, DeploymentInfo, MachineCheck, MachineInfo } from '../../src/core/reports.js'
import { checkView } from '../../src/ui/check-view.js'
import { infoView, plainInfo, statusText } from '../../src/ui/info-view.js'
import { toJsonText } from '../../src/ui/json.js'
import { deploymentsView, findingsView, imagesView } from '../../src/ui/list-view.js'
import { summary } from '../../src/ui/live-progress.js'
import { linesOf } from '../../src/ui/plain-progress.js'
import { planView } from '../../src/ui/plan-view.js'
import { resultsView } from '../../src/ui/results-view.js'
import { setupView } from '../../src/ui/setup-view.js'
import { createStyle } from '../../src/ui/style.js'

const style = createStyle(false)
const web = MachineName.parse('web')
const db = MachineName.parse('db')
const old = MachineName.parse('old')

describe('the view of the plan', () => {
  const plan: Plan = {
    disruptive: true,
    machines: [
      {
        machine: web,
        items: [
          {
            subject: 'libvirt',
            action: 'create',
            detail: '1024 MiB, 2 vCPU, 10 GiB on debian-12 · ssh 127.0.0.1:24231',
          },
          { subject: 'closure', action: 'copy', detail: '14 paths, 3.1 MiB' },
          { subject: 'setup', action: 'run', detail: 'nix, cache-key' },
        ],
      },
      {
        machine: db,
        items: [
          { subject: 'libvirt', action: 'change', detail: 'memory 1024 → 2048 MiB', note: 'restart needed' },
          { subject: 'keys', action: 'replace', detail: 'db-password' },
        ],
      },
      {
        machine: old,
        items: [
          {
            subject: 'libvirt',
            action: 'destroy',
            detail: 'obsolete: no longer in the network',
            note: 'needs --kill-obsolete',
          },
        ],
      },
    ],
  }

  it('has one line per item, each machine named once', () => {
    expect(planView(plan, style)).toBe(
      `
web   libvirt   create    1024 MiB, 2 vCPU, 10 GiB on debian-12 · ssh 127.0.0.1:24231
      closure   copy      14 paths, 3.1 MiB
      setup     run       nix, cache-key
db    libvirt   change    memory 1024 → 2048 MiB   (restart needed)
      keys      replace   db-password
old   libvirt   destroy   obsolete: no longer in the network   (needs --kill-obsolete)`.trim(),
    )
  })

  it('names the unknown parts', () => {
    const machines = [{ machine: web, items: [], unknown: 'it does not answer' }]
    expect(planView({ machines, disruptive: false }, style)).toBe(
      'web   machine   unknown   it does not answer',
    )
  })

  it('says when there is nothing to do', () => {
    const machines = [{ machine: web, items: [] }]
    expect(planView({ machines, disruptive: false }, style)).toBe('Up-to-date: nothing to do')
  })

  it('paints destructive steps in red', () => {
    expect(planView(plan, createStyle(true))).toContain('\u001b[31mdestroy')
  })
})

describe('the view of results', () => {
  const results: MachineResult[] = [
    {
      machine: db,
      outcome: 'failed',
      stage: 'activate',
      seconds: 12.34,
      reason: "machine 'db': unit nginx.service failed",
      evidence: ['nginx: bind() failed', 'exit 1'],
      hint: 'hydra-ops logs db',
    },
    { machine: web, outcome: 'changed', seconds: 41 },
  ]

  it('is a table, then the reason with its evidence', () => {
    expect(resultsView(results, { style, plain: false })).toBe(
      `
+------+--------------------+----------+
| Name |       Result       | Duration |
+------+--------------------+----------+
| db   | failed at activate |   12.3 s |
| web  | changed            |   41.0 s |
+------+--------------------+----------+

db: failed at activate: machine 'db': unit nginx.service failed
  nginx: bind() failed
  exit 1
  hint: hydra-ops logs db`.trim(),
    )
  })

  it('shows each line of a hint as a hint of its own', () => {
    const hint = 'ssh -G db\nhydra-ops doctor reports: fix it'
    const [failed] = results
    const shown = resultsView(failed === undefined ? [] : [{ ...failed, hint }], { style, plain: false })
    expect(shown).toContain('\n  hint: ssh -G db\n  hint: hydra-ops doctor reports: fix it')
  })

  it('is lines of tabs for scripts', () => {
    expect(resultsView(results, { style, plain: true })).toBe(
      'db\tfailed at activate\t12.3 s\nweb\tchanged\t41.0 s',
    )
  })

  it('says Up-to-date when nothing was changed anywhere', () => {
    const unchanged = results.map(
      ({ machine }): MachineResult => ({ machine, outcome: 'unchanged', seconds: 1 }),
    )
    expect(resultsView(unchanged, { style, plain: false })).toContain('\nUp-to-date: nothing was changed')
    expect(resultsView(results, { style, plain: false })).not.toContain('Up-to-date')
    expect(resultsView([], { style, plain: false })).not.toContain('Up-to-date')
  })
})

describe('the view of info', () => {
  const machine = (name: string, rest: Partial<MachineInfo>): MachineInfo => ({
    name: MachineName.parse(name),
    state: 'up',
    currency: 'up-to-date',
    type: 'libvirt',
    resourceId: 'hydra-ops-1b2c-web',
    address: '192.0.2.1',
    urls: [],
    outputs: {},
    owners: [],
    detail: undefined,
    ...rest,
  })
  const info: DeploymentInfo = {
    uuid: '1b2c3d4e-0000-4000-8000-000000000000',
    name: 'lab',
    description: 'Two guests',
    expressions: ['/home/me/net.nix', '/home/me/libvirt.nix'],
    searchPath: ['nixpkgs=/src'],
    args: { size: '2048' },
    fromGit: true,
    probed: true,
    evaluationError: undefined,
    machines: [
      machine('db', { state: 'missing', currency: 'new', resourceId: '', address: undefined }),
      machine('web', {
        urls: ['http://127.0.0.1:8080/'],
        outputs: { 'cache-key': { 'public key': 'lab-1:abc=' } },
      }),
      machine('web2', {
        state: 'unreachable',
        currency: 'outdated',
        detail: 'no answer from ssh at 127.0.0.1:1',
      }),
    ],
  }

  it('looks like that of NixOps, with published ports and set-up tasks below', () => {
    expect(infoView(info, style)).toBe(
      `
Network name: lab
Network UUID: 1b2c3d4e-0000-4000-8000-000000000000
Network description: Two guests
Nix expressions: /home/me/net.nix /home/me/libvirt.nix
Evaluated from: the files that git tracks
Nix search path: -I nixpkgs=/src
Nix arguments: size = 2048

+------+------------------------+---------+--------------------+------------+
| Name |         Status         |   Type  |    Resource Id     | IP address |
+------+------------------------+---------+--------------------+------------+
| db   |     Missing / New      | libvirt |                    |            |
| web  |    Up / Up-to-date     | libvirt | hydra-ops-1b2c-web | 192.0.2.1  |
| web2 | Unreachable / Outdated | libvirt | hydra-ops-1b2c-web | 192.0.2.1  |
+------+------------------------+---------+--------------------+------------+

Published:
  web  http://127.0.0.1:8080/

Set-up:
  web  cache-key  public key  lab-1:abc=

Notes:
  web2  no answer from ssh at 127.0.0.1:1`.trim(),
    )
  })

  it('is lines of tabs for scripts', () => {
    expect(plainInfo([info], false, style).split('\n')[1]).toBe(
      'web\tUp / Up-to-date\tlibvirt\thydra-ops-1b2c-web\t192.0.2.1',
    )
    expect(plainInfo([info], true, style)).toMatch(/^1b2c3d4e-0000-4000-8000-000000000000\tlab\tdb\t/)
  })

  it('names every state', () => {
    expect(statusText({ state: 'stopped', currency: undefined })).toBe('Stopped')
    expect(statusText({ state: 'up', currency: 'obsolete' })).toBe('Up / Obsolete')
    expect(statusText({ state: 'stopped', currency: 'revived' })).toBe('Stopped / Revived')
    expect(statusText({ state: 'foreign', currency: 'new' })).toBe('Foreign / New')
    expect(statusText({ state: 'unknown', currency: 'outdated' })).toBe('Unknown / Outdated')
  })

  it('lets no name or description touch the terminal', () => {
    const hostile = { ...info, name: 'a\u001b[2Jb', description: 'x\ny', machines: [] }
    const text = infoView(hostile, style)
    expect(text).toContain('Network name: ab\n')
    expect(text).toContain('Network description: x\\ny\n')
  })
})

describe('the view of check', () => {
  const machine: MachineCheck = {
    name: web,
    exists: true,
    up: true,
    reachable: true,
    disksOk: true,
    load: '0.00 0.01 0.05',
    failedUnits: [],
    notes: [],
    stoppedOnPurpose: false,
  }
  const report: CheckReport = {
    machines: [
      machine,
      {
        ...machine,
        name: db,
        failedUnits: ['x.service'],
        disksOk: false,
        notes: ['/ is 99 % full', 'obsolete'],
      },
      {
        ...machine,
        name: old,
        up: false,
        reachable: undefined,
        disksOk: undefined,
        load: undefined,
        failedUnits: undefined,
        stoppedOnPurpose: true,
      },
    ],
    orphans: [{ name: 'hydra-ops-x-gone', deployment: 'x', machine: 'gone' }],
    problems: ['one state cannot be read'],
  }

  it('is the table of NixOps, then the orphans', () => {
    expect(checkView(report, { style, plain: false })).toBe(
      `
+------+--------+--------------+-----------+----------+----------------+--------------------+--------------------------+
| Name | Exists |      Up      | Reachable | Disks OK |   Load avg.    |       Units        |          Notes           |
+------+--------+--------------+-----------+----------+----------------+--------------------+--------------------------+
| web  | Yes    | Yes          | Yes       | Yes      | 0.00 0.01 0.05 | OK                 |                          |
| db   | Yes    | Yes          | Yes       | No       | 0.00 0.01 0.05 | x.service [failed] | / is 99 % full; obsolete |
| old  | Yes    | No (stopped) | N/A       | N/A      | N/A            | N/A                |                          |
+------+--------+--------------+-----------+----------+----------------+--------------------+--------------------------+

Machines with the mark of hydra-ops that are in no deployment of this state:
  Resource          Deployment  Machine
  hydra-ops-x-gone  x           gone

note: one state cannot be read`.trim(),
    )
  })

  it('is lines of tabs for scripts, orphans too', () => {
    const lines = checkView(report, { style, plain: true }).split('\n')
    expect(lines[0]).toBe('web\tYes\tYes\tYes\tYes\t0.00 0.01 0.05\tOK\t')
    expect(lines[3]).toBe('orphan\thydra-ops-x-gone\tx\tgone')
  })
})

it('deployments are listed with the facts of the state', () => {
  const row = { uuid: 'u', name: undefined, description: undefined, machines: 2, types: ['libvirt', 'ssh'] }
  expect(deploymentsView({ deployments: [row], problems: [] }, true)).toBe('u\t(none)\t\t2\tlibvirt, ssh')
})

it('findings name the command that fixes them', () => {
  const findings = [
    { id: 'kvm', level: 'note' as const, what: 'there is no /dev/kvm' },
    {
      id: 'programs.nix',
      level: 'problem' as const,
      what: 'nix-store is missing',
      mend: 'sudo apt-get install nix-bin',
    },
  ]
  expect(findingsView(findings, style, false)).toBe(
    `
note     kvm: there is no /dev/kvm
problem  programs.nix: nix-store is missing
         repair: sudo apt-get install nix-bin`.trim(),
  )
})

it('set-up tasks show their state and their outputs', () => {
  const rows = [
    { machine: web, task: 'nix', state: 'done' as const, outputs: { version: '2.8.1' } },
    { machine: web, task: 'cache-key', state: 'drifted' as const, detail: 'the key is gone', outputs: {} },
  ]
  expect(setupView(rows, { style, plain: true })).toBe(
    'web\tnix\tdone\tversion = 2.8.1\nweb\tcache-key\tdrifted\tthe key is gone',
  )
})

describe('the view of progress', () => {
  it('names the machine in every line', () => {
    const result: MachineResult = {
      machine: web,
      outcome: 'failed',
      stage: 'copy',
      seconds: 2,
      reason: 'disk full',
    }
    expect(linesOf({ kind: 'stage', machine: web, stage: 'copy', detail: '14 paths' }, style)).toEqual([
      'web> copy: 14 paths',
    ])
    expect(linesOf({ kind: 'line', machine: web, line: 'a\r\nb\u001b[1m!' }, style)).toEqual([
      'web> a',
      'web> b!',
    ])
    expect(linesOf({ kind: 'line', machine: undefined, line: 'x' }, style)).toEqual(['x'])
    expect(linesOf({ kind: 'done', machine: web, result }, style)).toEqual([
      'web> failed at copy in 2.0 s: disk full',
    ])
    expect(linesOf({ kind: 'notice', text: 'mind the gap' }, style)).toEqual(['note: mind the gap'])
  })

  it('names the failed of many machines in one line', () => {
    const row = (stage: string, ended?: string, failed = false) => ({ stage, ended, failed })
    const rows = new Map([
      ['a', row('copy')],
      ['b', row('copy')],
      ['c', row('activate')],
      ['d', row('record', 'changed')],
      ['e', row('reach', 'failed at reach', true)],
    ])
    expect(summary(rows)).toBe('2 of 5 machines done · copy 2, activate 1 · failed: e')
  })
})

it('JSON holds no character that a terminal reads as an instruction', () => {
  const text = toJsonText({ name: 'a\u001b[2J\u009bb\u202e\u007f' })
  expect(text).toBe('{\n  "name": "a\\u001b[2J\\u009bb\\u202e\\u007f"\n}')
  expect(JSON.parse(text)).toEqual({ name: 'a\u001b[2J\u009bb\u202e\u007f' })
})

it('the list of images names the missing file of an image', () => {
  const image = { id: 'i', reference: 'debian-12', disk: '/d', format: 'qcow2', virtualBytes: 1 } as const
  const info = { ...image, identity: 'fwcfg', bytes: 0, builtAt: '2026-01-01T00:00:00Z' } as const
  const [whole, broken] = imagesView([info, { ...info, missing: ['kernel'] }], true).split('\n')
  expect(whole).not.toContain('broken')
  expect(broken).toContain('debian-12 (broken: kernel is gone)')
})

it('the list of images names the folder of an image without its record', () => {
  const [line, ...more] = imagesView([{ id: 'the-folder', bytes: 5, missing: ['image.json'] }], true).split(
    '\n',
  )
  expect(line?.split('\t')).toEqual(['(broken: image.json is gone or damaged)', 'the-folder', '5', '', ''])
  expect(more).toEqual([])
})

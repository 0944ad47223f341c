import { describe, expect, it } from 'vitest'
import { interrupted, unreachable } from '../../../src/core/errors.js'
import { DeploymentUuid, StorePath } from '../../../src/core/names.js'
import type { CommandResult } from '../../../src/core/ssh.js'
import {
  finishActivation,
  followActivation,
  startActivation,
} from '../../../src/systems/debian/activation.js'
import { exit, succeed } from '../../fakes/fake-ssh.js'
import { connectFake, recordingRun } from '../../fakes/fake-target.js'

const path = StorePath.parse(`/nix/store/${'a'.repeat(32)}-hydra-ops-web`)
const activation = { unit: 'hydra-ops-r1.service', log: '/var/log/hydra-ops/r1.log', path, bootId: 'boot-1' }
const owner = DeploymentUuid.parse('0b6f3a4e-6f0c-4d51-9f3e-2a1f5f7c1a01')
const lost: CommandResult = { kind: 'lost', stdout: '', stderr: '' }
const follow = 'follow the activation'

interface End {
  readonly log?: readonly string[]
  readonly active?: string
  readonly sub?: string
  readonly status?: number
  readonly load?: string
  readonly units?: readonly string[]
}

function ended({
  log = [],
  active = 'active',
  sub = 'exited',
  status = 0,
  load = 'loaded',
  units,
}: End): CommandResult {
  const state = { Id: activation.unit, LoadState: load, ActiveState: active, SubState: sub, ExecMainCode: 1 }
  return succeed(
    [
      ...log.map((line) => `log ${line}`),
      ...Object.entries({ ...state, ExecMainStatus: status }).map(
        ([name, value]) => `state ${name}=${value}`,
      ),
      ...(units === undefined
        ? []
        : [`record ${JSON.stringify(['result', activation.unit, path, String(status), ...units])}`]),
      'boot boot-1\n',
    ].join('\n'),
  )
}

describe('the start of an activation', () => {
  it('gives the unit, the log and the closure to one script', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer('start the activation', succeed())
    await startActivation(host, { ...activation, owner, always: false }, recordingRun())
    await startActivation(host, { ...activation, owner, always: true }, recordingRun())
    const { unit, log } = activation
    expect(ssh.execs.map(({ values }) => values)).toEqual([
      { unit, log, closure: path, options: `--owner\n${owner}` },
      { unit, log, closure: path, options: `--owner\n${owner}\n--always` },
    ])
    const script = ssh.execs[0]?.script ?? ''
    expect(script).toContain('--service-type=exec --remain-after-exit')
    expect(script).not.toMatch(/--pipe|--collect|--wait/)
  })

  it('fails when systemd refuses, and leaves a lost connection to the code that follows it', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer('start the activation', exit(1, 'systemd is not running on this machine\n'))
    await expect(
      startActivation(host, { ...activation, owner, always: false }, recordingRun()),
    ).rejects.toMatchObject({
      machine: 'web',
      detail: 'systemd is not running on this machine',
    })
    ssh.answer('start the activation', lost)
    await startActivation(host, { ...activation, owner, always: false }, recordingRun())
  })
})

describe('the follower of an activation', () => {
  const noReconnect = async () => {
    throw new Error('nothing was lost')
  }

  it('shows the log and returns the end', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer(follow, ended({ log: ['file /etc/a written', 'result 0'] }))
    const run = recordingRun()
    expect(await followActivation({ host, reconnect: noReconnect }, activation, run)).toEqual({ kind: 'ok' })
    expect(run.lines).toEqual(['file /etc/a written', 'result 0'])
    const { unit, log } = activation
    expect(ssh.execs[0]?.values).toMatchObject({ unit, log, seen: '0' })
  })

  it('returns the failed units with their journal and the end of the log', async () => {
    const { host, ssh } = await connectFake()
    const log = Array.from({ length: 30 }, (_, n) => `line ${n}`)
    ssh.answer(follow, ended({ log, active: 'failed', status: 4, units: ['a.service'] }))
    ssh.answer('read the journal of the units that failed', succeed('Nov 21 a[1]: no such table\n'))
    expect(await followActivation({ host, reconnect: noReconnect }, activation, recordingRun())).toEqual({
      kind: 'failed',
      code: 4,
      units: ['a.service'],
      journal: ['Nov 21 a[1]: no such table'],
      log: log.slice(-20),
    })
    expect(ssh.execs.at(-1)?.values).toEqual({ units: 'a.service' })
  })

  it('goes on at the same place over another connection, and shows no line twice', async () => {
    const { host, ssh } = await connectFake()
    const answers = [{ ...lost, stdout: 'log one\nlog two\n' }, ended({ log: ['three'] })]
    ssh.answer(follow, () => answers.shift() ?? lost)
    const attempts = [unreachable('web', 'it does not answer'), unreachable('web', 'still not')]
    const reconnect = async () => {
      const error = attempts.shift()
      if (error !== undefined) throw error
      return host
    }
    const run = recordingRun()
    expect(await followActivation({ host, reconnect }, activation, run, { retryMs: 1 })).toEqual({
      kind: 'ok',
    })
    expect(run.lines).toEqual([
      ...['one', 'two'],
      'the connection is lost, but the activation continues; connecting again',
      ...['it does not answer; trying again', 'still not; trying again', 'three'],
    ])
    expect(ssh.execs.map(({ values }) => values.seen)).toEqual(['0', '2'])
  })

  it('does not connect again to a machine that shows another host key', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer(follow, lost)
    const reconnect = async () => {
      throw new Error('the host key changed')
    }
    await expect(followActivation({ host, reconnect }, activation, recordingRun())).rejects.toThrow(
      'host key changed',
    )
  })

  it('gives up at its deadline and reports that the activation goes on', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer(follow, ended({ sub: 'running' }))
    const following = followActivation({ host, reconnect: noReconnect }, activation, recordingRun(), {
      deadlineMs: 5_000,
    })
    await expect(following).rejects.toMatchObject({
      code: 'DEADLINE',
      hint: expect.stringContaining('the next deploy reads its result'),
    })
    expect(Number(ssh.execs[0]?.values.seconds)).toBeLessThanOrEqual(5)
  })

  it('stops trying to connect at its deadline', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer(follow, lost)
    const reconnect = async () => {
      throw unreachable('web', 'it does not answer')
    }
    const options = { deadlineMs: 20, retryMs: 5 }
    await expect(
      followActivation({ host, reconnect }, activation, recordingRun(), options),
    ).rejects.toMatchObject({ code: 'UNREACHABLE' })
  })

  it('reports on Ctrl-C that the activation goes on', async () => {
    const { host, ssh } = await connectFake()
    const controller = new AbortController()
    ssh.answer(follow, () => {
      controller.abort()
      throw interrupted()
    })
    const following = followActivation(
      { host, reconnect: noReconnect },
      activation,
      recordingRun(controller.signal),
    )
    await expect(following).rejects.toMatchObject({
      code: 'INTERRUPTED',
      message: "interrupted; the activation on 'web' continues there (unit hydra-ops-r1.service)",
    })
  })

  it('also reports this between two attempts to connect again', async () => {
    const { host, ssh } = await connectFake()
    const controller = new AbortController()
    ssh.answer(follow, lost)
    const run = recordingRun(controller.signal)
    const log = (line: string) => {
      run.log(line)
      if (line.endsWith('trying again')) controller.abort()
    }
    const reconnect = async () => {
      throw unreachable('web', 'it does not answer')
    }
    await expect(
      followActivation({ host, reconnect }, activation, { ...run, log }, { retryMs: 60_000 }),
    ).rejects.toMatchObject({
      code: 'INTERRUPTED',
      message: expect.stringContaining('continues there'),
    })
  })

  it('does not mistake a missing unit for a success', async () => {
    const { host, ssh } = await connectFake()
    ssh.answer(follow, ended({ load: 'not-found', active: 'inactive', sub: 'dead' }))
    const result = await followActivation({ host, reconnect: noReconnect }, activation, recordingRun())
    expect(result).toEqual({ kind: 'unknown', why: 'its unit hydra-ops-r1.service no longer exists' })
  })
})

it('the end of an activation forgets the unit, and a failure to do so is only logged', async () => {
  const { host, ssh } = await connectFake()
  ssh.answer('remove the unit of the activation', succeed())
  await finishActivation(host, activation.unit, recordingRun())
  expect(ssh.execs[0]?.values).toEqual({ unit: activation.unit })
  ssh.answer('remove the unit of the activation', lost)
  const run = recordingRun()
  await finishActivation(host, activation.unit, run)
  expect(run.lines).toEqual([
    'the unit hydra-ops-r1.service may still exist, because its removal failed: the connection was lost before the command ended',
  ])
})

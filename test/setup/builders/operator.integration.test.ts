import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ProofPlace, UsedBuilder } from '../../../src/core/builder-entries.js'
import { daemonEntry, hasBlock, ownEntry } from '../../../src/core/operator-builders.js'
import { bindTask, type TaskMachine } from '../../../src/core/setup-task.js'
import type { Host, SshTarget } from '../../../src/core/ssh.js'
import { builderTask } from '../../../src/setup/builders/builder-task.js'
import { proveFrom } from '../../../src/setup/builders/proof.js'
import { renderConfig } from '../../../src/ssh/config-file.js'
import { debianMachine } from '../../fakes/debian-machine.js'
import { taskRun } from '../../fakes/task-run.js'
import { withScript } from '../../fixtures/with-script.js'
import { b1, restartDaemon, TwoMachines } from './two-machines.js'

/** Folder of the operator's state; Nix splits the options of ssh at spaces. */
const folder = '/srv/a state'
const keyFile = `${folder}/builders_ed25519`
const hostList = '/etc/nix/machines'
const blockFile = '/etc/ssh/ssh_config.d/hydra-ops.conf'

/** The machine `ci` of the fixture is the operator host here. */
let machines: TwoMachines
let builder: UsedBuilder
let target: SshTarget

const sh = (text: string) => machines.ci.sh(`unset NIX_CONFIG\n${text}`)

beforeAll(async () => {
  machines = await TwoMachines.start()
  await sh(`mkdir -p '${folder}'; chmod 755 '${folder}'; ssh-keygen -q -t ed25519 -N '' -f '${keyFile}'
useradd --system --groups nix-users --shell /bin/sh alice`)
  const options = { enable: true, for: 'operator', maxJobs: 1, supportedFeatures: ['big-parallel'] }
  const machine: TaskMachine = {
    definition: { ...debianMachine({ builder: options }), name: b1 },
    deployment: 'lab',
    operatorKey: await sh(`cut -d' ' -f1,2 '${keyFile}.pub'`),
    publishedPort: () => undefined,
  }
  const task = bindTask(builderTask)(machine)
  await task?.apply(machines.b1.host as unknown as Host, taskRun())
  builder = {
    machine: b1,
    user: 'nix-builder',
    host: '127.0.0.1',
    port: 22,
    systems: ['x86_64-linux'],
    maxJobs: 1,
    speedFactor: 1,
    supportedFeatures: ['big-parallel'],
    mandatoryFeatures: [],
    hostKey: machines.hostKey,
  }
  target = {
    machine: b1,
    host: '127.0.0.1',
    port: machines.port,
    user: 'nix-builder',
    hostKey: machines.hostKey,
    identityFiles: [keyFile],
    useAgent: false,
    identitiesOnly: true,
    jump: undefined,
    proxyCommand: undefined,
    sshOptions: [],
    privilegeEscalation: [],
  }
}, 120_000)
afterAll(async () => machines?.dispose())

const facts = () => ({ target, keyFile, drained: false })
const write = (file: string, text: string) => machines.ci.sh(`printf %s "$2" > "$1"`, file, text)

function place(more: Partial<ProofPlace>): ProofPlace {
  const machine = machines.ci.host
  const shell = withScript(machine as unknown as Host, (text, args, options) =>
    machine.script(`unset NIX_CONFIG\n${text}`, args, options),
  )
  const key = { file: keyFile, user: 'root' }
  return {
    shell,
    through: 'own',
    runAs: '',
    list: `${folder}/machines`,
    name: '',
    key,
    sshConfig: '',
    ...more,
  }
}

async function prove(more: Partial<ProofPlace>): Promise<string[]> {
  const told = taskRun()
  await proveFrom(place(more), builder, told)
  return told.lines
}

describe("the operator's Nix without a daemon", () => {
  const sshConfig = `${folder}/ssh_config`
  const knownHosts = `${folder}/known_hosts`
  const name = 'ssh://nix-builder@b1'

  beforeAll(async () => {
    const entry = ownEntry(builder, facts())
    const rendered = renderConfig([target], { knownHosts }, { env: {}, homeDir: '/root' })
    await write(`${folder}/machines`, `${entry.line}\n`)
    await write(sshConfig, rendered.config)
    await write(knownHosts, rendered.knownHosts)
  })

  it('builds on the builder, by a key, a port and a host key of its own configuration', async () => {
    expect(await prove({ name, sshConfig })).toEqual([
      "builder 'b1' built for x86_64-linux: ssh://nix-builder@b1",
      "builder 'b1' built for x86_64-linux with big-parallel: ssh://nix-builder@b1",
    ])
  })

  it('builds on no host with a key other than the pinned one', async () => {
    await machines.changeHostKey()
    try {
      await expect(prove({ name, sshConfig })).rejects.toMatchObject({
        code: 'BUILDER_LOGIN',
        message: expect.stringContaining("'127.0.0.1' presents a host key other than the pinned key"),
      })
    } finally {
      await machines.restoreHostKey()
    }
  })
})

describe("the operator's Nix daemon", () => {
  const entry = () => daemonEntry(builder, 'abcd1234', facts())

  it('reaches a builder at another port by the settings that root gets', async () => {
    const { name, line, sshBlock = '' } = entry()
    await write(`${folder}/machines`, `${line}\n`)
    await expect(prove({ name, through: 'daemon' })).rejects.toMatchObject({ code: 'BUILDER_LOGIN' })
    await write(blockFile, sshBlock)
    const alias = name.replace('ssh://nix-builder@', '')
    expect(hasBlock(await sh(`ssh -F /etc/ssh/ssh_config -G -- ${alias}`), sshBlock)).toBe(true)
    expect(await prove({ name, through: 'daemon' })).toHaveLength(2)
  })

  it('ignores the list of a user whom it does not trust, and builds by the list of root', async () => {
    const { name, line } = entry()
    const alice = { name, through: 'daemon' as const, runAs: 'alice' }
    // Only root may read the key, but every user may read the list.
    await sh(`chmod 600 '${keyFile}'`)
    await write(hostList, '')
    await restartDaemon(machines.ci)
    await expect(prove(alice)).rejects.toThrow(/cannot build for x86_64-linux on builder 'b1'/)
    await write(hostList, `${line}\n`)
    expect(await prove({ ...alice, list: hostList })).toHaveLength(2)
  })

  it('is reported to have built elsewhere if it chose another builder of that list', async () => {
    const { line } = entry()
    const other = 'ssh://nix-builder@other'
    await write(hostList, `${line}\n`)
    await write(`${folder}/machines`, `${line.replace(/^\S+/, other)}\n`)
    await expect(prove({ name: other, through: 'daemon', runAs: 'alice' })).rejects.toMatchObject({
      code: 'BUILDER_BUILD',
      message: expect.stringMatching(/Nix built on ssh:\/\/nix-builder@hydra-ops-abcd1234-b1$/),
    })
  })
})

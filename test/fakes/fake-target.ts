import { MachineName } from '../../src/core/names.js'
import type { Run } from '../../src/core/run.js'
import type { Host, SshTarget } from '../../src/core/ssh.js'
import { createFakeSsh, type FakeSsh, fakePublicKey } from './fake-ssh.js'

/** Describes the target of a machine that does not exist. */
export function fakeTarget(name: string, more: Partial<SshTarget> = {}): SshTarget {
  return {
    machine: MachineName.parse(name),
    host: '127.0.0.1',
    port: 22,
    user: 'root',
    hostKey: fakePublicKey(name),
    identityFiles: [],
    useAgent: false,
    jump: undefined,
    proxyCommand: undefined,
    sshOptions: [],
    privilegeEscalation: ['sudo', '-H', '--'],
    ...more,
  }
}

/** Connects to a made-up machine; returns the connection with its SSH layer. */
export async function connectFake(
  escalation: Host['escalation'] = 'root',
  more: Partial<SshTarget> = {},
): Promise<{ host: Host; ssh: FakeSsh }> {
  const ssh = createFakeSsh({ escalation })
  const { host } = await ssh.connect(fakeTarget('web', more), {
    signal: new AbortController().signal,
    timeoutMs: 1_000,
  })
  return { host, ssh }
}

/** Creates a run that keeps its log lines. */
export function recordingRun(
  signal: AbortSignal = new AbortController().signal,
): Run & { readonly lines: string[] } {
  const lines: string[] = []
  return { signal, lines, log: (line) => lines.push(line) }
}

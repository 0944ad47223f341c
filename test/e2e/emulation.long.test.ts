import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { AptRelay } from '../fixtures/apt-relay.js'
import { placeBusybox } from '../fixtures/foreign-program.js'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { rootLogin, type SshOperator, sshOperator } from './ssh-operator.js'

/** The time for a deploy in which an emulated processor unpacks the emulators. */
const deployMs = 30 * 60_000

let guest: Guest
let operator: SshOperator
let relay: AptRelay

/**
 * Returns a network with a builder that emulates another processor, and an unreachable machine `pi` with that
 * processor.
 */
function network(proxy: number, systems: string): string {
  return `{
  b1 = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "b1.example";
    deployment.targetHostKey = "${guest.hostKey}";
    deployment.aptProxy = "operator:${proxy}";
    deployment.builder = { enable = true; for = "operator"; };
    deployment.binfmt.emulatedSystems = [ ${systems} ];
  };
  pi = {
    deployment.os = "debian";
    deployment.targetEnv = "none";
    deployment.targetHost = "127.0.0.9";
    deployment.packages = [
      (derivation {
        name = "built-on-arm";
        system = "aarch64-linux";
        # A static program of Debian for this processor, which goes by its name.
        builder = "\${./arm}/busybox";
        args = [ "sh" "-c" "busybox=\${./arm}/busybox; $busybox mkdir -p $out/bin; $busybox uname -m > $out/bin/processor" ];
      })
    ];
  };
}
`
}

beforeAll(async () => {
  relay = new AptRelay()
  const proxy = await relay.listen()
  guest = await startGuest({ name: 'b1' })
  operator = sshOperator()
  operator.sshConfig(rootLogin('b1.example', guest))
  mkdirSync(join(operator.folder, 'arm'))
  placeBusybox('arm64', join(operator.folder, 'arm', 'busybox'))
  operator.write('network.nix', network(proxy, '"aarch64-linux" "armv7l-linux"'))
  await operator.ok(['create', 'network.nix', '-d', 'pis'])
})
afterAll(async () => {
  await guest?.dispose()
  operator?.dispose()
  relay?.dispose()
})

describe('the emulation of another processor', () => {
  it('lets a host without that processor refuse the build, and the error names the system', async () => {
    const refused = await operator.run(['deploy', '-d', 'pis', '--include', 'pi', '--build-only'])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('aarch64-linux')
  })

  it('comes with a deploy of the builder, which proves each system by a build', async () => {
    await operator.ok(['deploy', '-d', 'pis', '--include', 'b1'], { timeoutMs: deployMs })
    expect(await guest.sh('cat /proc/sys/fs/binfmt_misc/qemu-aarch64')).toContain('enabled')
    const tested = await operator.run(['builders', 'test', '-d', 'pis'], { timeoutMs: deployMs })
    expect(tested.code, tested.stderr).toBe(0)
    expect(await operator.ok(['builders', 'list', '-d', 'pis'])).toContain('aarch64-linux')
  })

  it('runs a program of that processor in a build on the builder, also in the sandbox', async () => {
    await operator.ok(['deploy', '-d', 'pis', '--include', 'pi', '--build-only'], { timeoutMs: deployMs })
    const built = await guest.sh('cat /nix/store/*-built-on-arm/bin/processor')
    expect(built).toBe('aarch64')
  })

  it('is unchanged at the next deploy', async () => {
    const said = await operator.ok(['deploy', '-d', 'pis', '--include', 'b1'], { timeoutMs: deployMs })
    expect(said).toContain('Up-to-date: nothing was changed')
  })
})

import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { WhyPlace } from '../../../src/core/build-why.js'
import type { BuildWhy } from '../../../src/core/reports.js'
import { whyNotBuilt } from '../../../src/setup/builders/why/ask.js'
import { taskRun } from '../../fakes/task-run.js'
import { b1, ci, restartDaemon, TwoMachines } from './two-machines.js'

const run = taskRun()
let machines: TwoMachines
let hostKey: string

beforeAll(async () => {
  machines = await TwoMachines.start()
  hostKey = Buffer.from(`${machines.hostKey}\n`).toString('base64')
  await makeBuilder()
  await makeDerivationFolder()
}, 120_000)
afterAll(async () => machines?.dispose())

const authorized = '/var/lib/nix-builder/.ssh/authorized_keys'

/** Sets up a builder by hand, as docs/builders.md describes. */
async function makeBuilder(): Promise<void> {
  await machines.ci.sh(`mkdir -p /etc/hydra/keys; chmod 755 /etc/hydra /etc/hydra/keys
ssh-keygen -q -t ed25519 -N '' -f /etc/hydra/keys/key; chown hydra-queue-runner /etc/hydra/keys/key
mkdir -p /etc/ssh/ssh_config.d
printf 'Host 127.0.0.1\\n  Port ${machines.port}\\n  HostKeyAlias 127.0.0.1\\n' > /etc/ssh/ssh_config.d/b1.conf`)
  const key = await machines.ci.sh('cat /etc/hydra/keys/key.pub')
  await machines.b1.sh(
    `useradd --system --user-group --groups nix-users --password '*' --shell /bin/sh --home-dir /var/lib/nix-builder nix-builder
install -d /var/lib/nix-builder/.ssh
printf 'restrict,command="nix-store --serve --write" %s\\n' "$1" > ${authorized}`,
    key,
  )
}

async function makeDerivationFolder(): Promise<void> {
  await machines.ci.sh('mkdir -p /srv/drv')
}

let made = 0
/** Creates a derivation that no store has built. */
async function derivation(system: string, ...features: string[]): Promise<string> {
  made += 1
  return machines.ci.sh(
    `printf 'derivation { name = "x-%s"; system = "%s"; builder = "/bin/sh"; args = [ "-c" "echo > $out" ]; requiredSystemFeatures = [ %s ]; }' "$1" "$2" "$3" > /srv/drv/x.nix
NIX_REMOTE=daemon nix-instantiate /srv/drv/x.nix 2> /dev/null`,
    String(made),
    system,
    features.map((each) => `"${each}"`).join(' '),
  )
}

/** Writes Hydra's only list of builders. */
async function list(fields: string, key = '/etc/hydra/keys/key'): Promise<void> {
  await machines.ci.sh(
    'printf "# builders\\n%s\\n" "$1" > /etc/hydra/machines',
    `nix-builder@127.0.0.1 ${fields.replace('KEY', key)} ${hostKey}`,
  )
}

const plain = 'x86_64-linux KEY 2 1 big-parallel -'

async function why(path: string, more: Partial<WhyPlace> = {}): Promise<BuildWhy> {
  const place: WhyPlace = {
    shell: machines.ci.host,
    where: "machine 'ci'",
    decider: 'queue runner',
    user: 'root',
    root: true,
    file: path,
    store: 'daemon',
    ours: [],
    reported: new Map(),
    ...more,
  }
  return whyNotBuilt(place, path, run)
}

describe('the question about a build of a queue runner', () => {
  it('finds nothing in the way if a like build succeeds on the builder', async () => {
    await list(plain)
    const path = await derivation('x86_64-linux', 'big-parallel')
    expect(await why(path)).toMatchObject({
      system: 'x86_64-linux',
      features: ['big-parallel'],
      kind: 'free',
      hindered: false,
      line: expect.stringMatching(/^\/etc\/hydra\/machines:2: nix-builder@127\.0\.0\.1 .* …$/),
      also: [],
    })
    // The command built only its own derivation.
    expect(await machines.b1.sh(`ls -d ${path.slice(0, -4)} 2> /dev/null || true`)).toBe('')
  })

  it('finds a missing system, a missing feature, and a builder without jobs', async () => {
    await list(plain)
    expect(await why(await derivation('riscv64-linux'))).toMatchObject({ kind: 'system', hindered: true })
    expect(await why(await derivation('x86_64-linux', 'gpu'))).toMatchObject({ kind: 'feature' })
    await list(plain.replace(' 2 ', ' 0 '))
    expect(await why(await derivation('x86_64-linux'))).toMatchObject({ kind: 'jobs' })
  })

  it('finds a line that nobody can read, whatever the other lines offer', async () => {
    await list(plain)
    await machines.ci.sh('echo "b2 x86_64-linux - four" >> /etc/hydra/machines')
    expect(await why(await derivation('x86_64-linux'))).toMatchObject({
      kind: 'list',
      cause: expect.stringContaining('maxJobs is four, not a number'),
      line: '/etc/hydra/machines:3: b2 x86_64-linux - four',
    })
  })

  it('refuses a file that is not a derivation, and a missing path', async () => {
    const absent = '/nix/store/00000000000000000000000000000000-x.drv'
    await expect(why(absent)).rejects.toMatchObject({
      code: 'NO_DERIVATION',
      message: `machine 'ci' has no derivation ${absent}`,
    })
    await expect(why(absent, { file: '/etc/passwd' })).rejects.toMatchObject({ exitCode: 2 })
  })

  it.each<[string, () => Promise<unknown>, () => Promise<unknown>, RegExp, RegExp]>([
    [
      'a key that the queue runner may not read',
      () => machines.ci.sh('chown root /etc/hydra/keys/key'),
      () => machines.ci.sh('chown hydra-queue-runner /etc/hydra/keys/key'),
      /^user 'hydra-queue-runner' may not read the key \S+, while a build there works as user 'root'$/,
      /^chown hydra-queue-runner \/etc\/hydra\/keys\/key/,
    ],
    [
      'a key that the builder does not know',
      () => machines.b1.sh(`mv ${authorized} /etc/ssh/moved`),
      () => machines.b1.sh(`mv /etc/ssh/moved ${authorized}`),
      /does not accept the key for user 'nix-builder'$/,
      /authorized_keys/,
    ],
    [
      'a login shell that prints',
      () => machines.b1.sh('usermod --shell /usr/sbin/nologin nix-builder'),
      () => machines.b1.sh('usermod --shell /bin/sh nix-builder'),
      /the login shell prints "This account is currently not available\."/,
      /silent/,
    ],
    [
      'a builder without Nix on the PATH',
      () =>
        machines.b1.sh(
          `sed -i 's/"nix-store --serve/"nix-store-gone --serve/; s/nix-store-gone/PATH=; nix-store/' ${authorized}`,
        ),
      () => machines.b1.sh(`sed -i 's/PATH=; nix-store/nix-store/' ${authorized}`),
      /user 'nix-builder' has no nix-store on the PATH/,
      /install Nix/,
    ],
    [
      'a builder without an ssh server',
      () => machines.stopSshd(),
      () => machines.startSshd(),
      /no ssh server answers at 127\.0\.0\.1/,
      /start the ssh server/,
    ],
    [
      'an account that may not use the daemon of the builder',
      () => machines.b1.sh('gpasswd -d nix-builder nix-users > /dev/null'),
      () => machines.b1.sh('gpasswd -a nix-builder nix-users > /dev/null'),
      /user 'nix-builder' may not use the Nix daemon/,
      /add 'nix-builder' to the group nix-users/,
    ],
    [
      'a builder that does not trust the login',
      async () => {
        await machines.b1.sh('sed -i "s/ nix-builder//" /etc/nix/nix.conf')
        await restartDaemon(machines.b1)
      },
      async () => {
        await machines.b1.sh('sed -i "s/trusted-users = root/& nix-builder/" /etc/nix/nix.conf')
        await restartDaemon(machines.b1)
      },
      /does not trust user 'nix-builder'/,
      /add nix-builder to trusted-users/,
    ],
  ])('finds %s', async (_, damage, mend, cause, remedy) => {
    await list(plain)
    const path = await derivation('x86_64-linux')
    await damage()
    try {
      expect(await why(path)).toMatchObject({
        kind: 'attempt',
        hindered: true,
        cause: expect.stringMatching(cause),
        remedy: expect.stringMatching(remedy),
      })
    } finally {
      await mend()
    }
  })

  it('finds a feature of the list that the Nix of the builder lacks', async () => {
    await list(plain.replace('big-parallel', 'onb'))
    expect(await why(await derivation('x86_64-linux', 'onb'))).toMatchObject({
      kind: 'attempt',
      cause: expect.stringContaining("the build needs 'x86_64-linux' with features {onb}"),
      remedy: expect.stringContaining('in the nix.conf of'),
    })
  })

  it('names remedies of hydra-ops for a builder of the deployment', async () => {
    await list(plain.replace('big-parallel', 'onb'))
    const ours = [{ machine: b1, user: 'nix-builder', host: '127.0.0.1', port: machines.port }]
    expect(await why(await derivation('x86_64-linux', 'onb'), { ours })).toMatchObject({
      cause: expect.stringContaining("the Nix of 'b1' is"),
      remedy: expect.stringContaining('hydra-ops setup run nix --redo --on b1'),
    })
  })
})

describe('the question about a machine without Nix', () => {
  it('is refused', async () => {
    const shell: WhyPlace['shell'] = {
      machine: ci,
      script: (text, args, options) =>
        machines.ci.host.exec(['env', 'PATH=/nonexistent', '/bin/sh', '-c', text, 'sh', ...args], options),
    }
    const path = '/nix/store/00000000000000000000000000000000-x.drv'
    await expect(why(path, { shell })).rejects.toMatchObject({
      code: 'NO_NIX',
      message: "machine 'ci' has no Nix",
    })
  })
})

describe('the question about a build of a Nix without a daemon', () => {
  /** A shell of an ordinary user. */
  const shell: WhyPlace['shell'] = {
    machine: ci,
    script: (text, args, options) =>
      machines.ci.host.exec(
        ['runuser', '-u', 'hydra-queue-runner', '--', 'sh', '-c', text, 'sh', ...args],
        options,
      ),
  }
  const alone = () => ({ decider: 'user', root: false, shell, user: 'hydra-queue-runner' }) as const

  it('follows the setting builders of its user', async () => {
    const path = await derivation('riscv64-linux')
    expect(await why(path, alone())).toMatchObject({ kind: 'builders' })
    try {
      await machines.ci.sh(
        'echo "builders = ssh://nix-builder@127.0.0.1 riscv64-linux $1 1 1 - - $2" >> /etc/nix/nix.conf',
        '/etc/hydra/keys/key',
        hostKey,
      )
      expect(await why(path, alone())).toMatchObject({
        kind: 'attempt',
        line: expect.stringMatching(
          /^the setting builders:1: ssh:\/\/nix-builder@127\.0\.0\.1 riscv64-linux/,
        ),
        cause: expect.stringContaining("the build needs 'riscv64-linux'"),
      })
    } finally {
      await machines.ci.sh('sed -i /^builders/d /etc/nix/nix.conf')
    }
  })

  it('reports a list that its user may not read, and one that is missing', async () => {
    const path = await derivation('riscv64-linux')
    try {
      await machines.ci.sh(
        `mkdir -m 0755 /etc/lists; install -m 0600 /dev/null /etc/lists/shut; mkdir -m 0700 /etc/lists/folder
echo "builders = @$1" >> /etc/nix/nix.conf`,
        '/etc/lists/shut',
      )
      const shut = { kind: 'unreadable', cause: expect.stringContaining('may not read /etc/lists/shut,') }
      expect(await why(path, alone())).toMatchObject(shut)
      await machines.ci.sh('sed -i "s,lists/shut,lists/folder/below," /etc/nix/nix.conf')
      expect(await why(path, alone())).toMatchObject({ kind: 'unreadable' })
      await machines.ci.sh('sed -i "s,lists/folder/below,lists/missing," /etc/nix/nix.conf')
      expect(await why(path, alone())).toMatchObject({
        kind: 'builders',
        remedy: expect.stringContaining('(missing: /etc/lists/missing)'),
      })
    } finally {
      await machines.ci.sh('sed -i /^builders/d /etc/nix/nix.conf; rm -rf /etc/lists')
    }
  })

  it('finds a builder whose jobs all run', async () => {
    const path = await derivation('riscv64-linux')
    try {
      await machines.ci.sh(
        `echo "builders = ssh://nix-builder@127.0.0.1 riscv64-linux" >> /etc/nix/nix.conf
mkdir -p /nix/var/nix/current-load
slot='/nix/var/nix/current-load/ssh:__nix-builder@127.0.0.1-0'
setsid flock "$slot" sleep 600 < /dev/null > /dev/null 2>&1 & echo $! > /run/held.pid
while flock -n "$slot" true; do sleep 0.1; done`,
      )
      expect(await why(path, alone())).toMatchObject({ kind: 'busy' })
    } finally {
      await machines.ci.sh(
        '[ ! -e /run/held.pid ] || kill -- "-$(cat /run/held.pid)"; rm -f /run/held.pid; sed -i /^builders/d /etc/nix/nix.conf',
      )
    }
  })
})

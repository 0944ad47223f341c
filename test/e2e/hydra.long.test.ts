import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { type Guest, startGuest } from '../fixtures/guest.js'
import { hydraOperator } from './hydra-operator.js'
import type { SshOperator } from './ssh-operator.js'

/** The password of Hydra's user, with characters that are special in many languages. */
const password = 'Kx7-päss "word" \\ $(false) `x` %n \'-Zq'

let guest: Guest
let operator: SshOperator

beforeAll(async () => {
  guest = await startGuest({ name: 'ci' })
  operator = await hydraOperator(guest, password)
})
afterAll(async () => {
  await guest?.dispose()
  operator?.dispose()
})

/** A script that checks that the page at / answers, because the image has no curl. */
const answers = `my $s = IO::Socket::INET->new("127.0.0.1:80") or exit 1;
print $s "GET / HTTP/1.0\\r\\nHost: hydra.example.org\\r\\n\\r\\n"; exit(<$s> =~ / 200 / ? 0 : 1)`

const Rows = z.array(z.object({ task: z.string(), state: z.string(), detail: z.string().optional() }))

async function status(): Promise<Record<string, string>> {
  const stdout = await operator.ok(['setup', 'status', '-d', 'ci', '--json'])
  const rows = Rows.parse(JSON.parse(stdout))
  return Object.fromEntries(
    rows.map(({ task, state, detail }) => [task, detail === undefined ? state : `${state}: ${detail}`]),
  )
}

const tasks = [
  ...['nix', 'hydra-accounts', 'postgresql', 'cache-key', 'binary-cache'],
  ...['nix-serve', 'hydra', 'nginx', 'admin-user', 'hydra-proof'],
]
const allDone = Object.fromEntries(tasks.map((task) => [task, 'done']))

describe('one expression', () => {
  it('makes a Hydra that builds and signs, with a user who can log in', async () => {
    await operator.ok(['deploy', '-d', 'ci'])
    expect(await status()).toEqual(allDone)
  })

  it('needs no second deploy: nothing runs again', async () => {
    const before = await guest.sh(
      'systemctl show -p ExecMainStartTimestampMonotonic hydra-server nginx postgresql@15-main',
    )
    const stdout = await operator.ok(['deploy', '-d', 'ci'])
    expect(stdout).toContain('Up-to-date: nothing was changed')
    expect(
      await guest.sh(
        'systemctl show -p ExecMainStartTimestampMonotonic hydra-server nginx postgresql@15-main',
      ),
    ).toBe(before)
  })

  it('keeps the password off the machine except for Hydra’s own hash', async () => {
    const found = await guest.sh(
      `grep -rlF 'Kx7-p' /etc /var/log /var/lib/hydra /root /home /run/systemd /nix/var 2>/dev/null || true
journalctl --no-pager | grep -cF 'Kx7-p' || true`,
    )
    expect(found.trim()).toBe('0')
  })
})

/** A script that logs in like a browser and prints the answer's status line, because the image has no curl. */
const login = `my ($name, $password) = map { chomp; $_ } <STDIN>;
my $body = qq({"username":"$name","password":"$password"});
my $s = IO::Socket::INET->new("127.0.0.1:80") or die $!;
print $s join("\r\n", "POST /login HTTP/1.0", "Host: hydra.example.org", "Origin: http://hydra.example.org",
  "Accept: application/json", "Content-Type: application/json", "Content-Length: " . length $body, "", $body);
print scalar <$s>`

async function loginStatus(name: string, secret: string): Promise<string> {
  return guest.sh(`printf '%s\n' '${name}' '${secret}' | perl -MIO::Socket::INET -e '${login}'`)
}

const Users = z.array(z.object({ name: z.string(), roles: z.array(z.string()), named: z.boolean() }))

describe('a user beside those of the expression', () => {
  it('is made, logs in, gets another password, and is left alone by a deploy', async () => {
    const flags = ['--role', 'restart-jobs', '--role', 'cancel-build', '-d', 'ci']
    await operator.ok(['hydra', 'user', 'add', 'bob', '--generate', ...flags])
    const first = (await operator.ok(['hydra', 'password', 'bob', '-d', 'ci'])).trim()
    expect(await loginStatus('bob', first)).toContain(' 302 ')
    const set = ['hydra', 'user', 'set-password', 'bob', '--password-stdin', '-d', 'ci']
    expect(await operator.run(set, { stdin: 'another one\n' })).toMatchObject({ code: 0 })
    expect(await loginStatus('bob', first)).toContain(' 403 ')
    expect(await loginStatus('bob', 'another one')).toContain(' 302 ')
    await operator.ok(['deploy', '-d', 'ci'])
    const listed = Users.parse(JSON.parse(await operator.ok(['hydra', 'user', 'list', '-d', 'ci', '--json'])))
    expect(listed).toEqual([
      { name: 'alice', roles: ['admin'], named: true },
      { name: 'bob', roles: ['cancel-build', 'restart-jobs'], named: false },
    ])
    const twice = await operator.run(['hydra', 'user', 'add', 'bob', '--generate', '-d', 'ci'])
    expect([twice.code, twice.stderr]).toEqual([2, expect.stringContaining('set-password bob')])
  })
})

/** Manual changes, and the tasks that must notice them. */
const damages: readonly (readonly [string, Readonly<Record<string, string>>])[] = [
  [
    'a stopped service, a disabled site, a cache of another owner, a role taken away',
    {
      hydra: 'systemctl stop hydra-evaluator',
      nginx: 'rm /etc/nginx/sites-enabled/hydra-ops && systemctl reload nginx',
      'binary-cache': 'chown root /var/lib/hydra/cache',
      'admin-user': `cd / && runuser -u hydra -- psql -U hydra hydra -c "delete from userroles" > /dev/null`,
    },
  ],
  [
    'a changed unit, a rule of PostgreSQL taken away',
    {
      hydra: 'echo "# x" >> /etc/systemd/system/hydra-server.service',
      postgresql: `sed -i '1,2d' /etc/postgresql/15/main/pg_hba.conf && systemctl reload postgresql`,
    },
  ],
  ['PostgreSQL stopped', { postgresql: 'systemctl stop postgresql@15-main' }],
]

describe('damage by hand', () => {
  it.each(damages)('is seen by its task, and mended: %s', async (_, byTask) => {
    for (const damage of Object.values(byTask)) await guest.sh(damage)
    expect(await status()).toMatchObject(
      Object.fromEntries(Object.keys(byTask).map((task) => [task, expect.stringMatching(/^drifted: /)])),
    )
    await operator.ok(['deploy', '-d', 'ci'])
    expect(await status()).toEqual(allDone)
  })

  it('is not mended in silence when it takes the database', async () => {
    await guest.sh(`systemctl stop 'hydra-*'; cd / && runuser -u postgres -- dropdb --force hydra`)
    const refused = await operator.run(['deploy', '-d', 'ci', '--yes'])
    expect(refused.code).toBe(3)
    expect(refused.stderr).toContain('the database of Hydra existed, and is now missing')
    await operator.ok(['deploy', '-d', 'ci', '--yes', '--allow-recreate'])
    expect(await status()).toEqual(allDone)
  })
})

describe('a reboot', () => {
  it('ends with everything up by itself', async () => {
    await operator.ok(['reboot', '-d', 'ci'])
    await guest.sh(
      `for i in $(seq 300); do
  if perl -MIO::Socket::INET -e "$1"; then exit 0; fi
  sleep 1
done
echo 'Hydra does not answer' >&2
exit 1`.replace('"$1"', `'${answers}'`),
    )
    expect(await status()).toEqual(allDone)
  })
})

import { describe, expect, it } from 'vitest'
import { failure } from '../../../src/core/errors.js'
import { MachineName } from '../../../src/core/names.js'
import { firstCharacters, loginCause, loginFailure } from '../../../src/setup/builders/login-failure.js'

const machine = MachineName.parse('ci')
const login = {
  builder: { machine: MachineName.parse('b1'), user: 'nix-builder', host: 'b1.lan', port: 22 },
  key: { file: '/etc/hydra/builders-key/key', user: 'hydra-queue-runner' },
}
const what = "log in to builder 'b1' as user 'hydra-queue-runner'"

/** Messages of a real Hydra with a real builder, and the cause of each message. */
const texts: readonly (readonly [string, string, string])[] = [
  [
    'cannot connect to ‘b1’: Host key verification failed.',
    "the host key of 'b1.lan' is not known",
    'setup run builders',
  ],
  [
    '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nHost key verification failed.',
    "'b1.lan' presents a host key other than the pinned key",
    "deploy 'b1' first",
  ],
  [
    'Load key "/etc/hydra/builders-key/key": Permission denied\nnix-builder@b1: Permission denied (publickey).',
    "user 'hydra-queue-runner' may not read the key /etc/hydra/builders-key/key",
    'setup run builder-key --redo',
  ],
  [
    'Warning: Identity file /etc/hydra/builders-key/key not accessible: No such file or directory.\nPermission denied (publickey).',
    'the key /etc/hydra/builders-key/key is missing or not a private key',
    'setup run builder-key --redo',
  ],
  [
    "error: cannot open connection to remote store 'ssh-ng://nix-cache@b1': error: protocol mismatch, got 'This account is currently not available.'",
    'the login shell prints "This account is currently not available." before Nix speaks',
    'no nologin',
  ],
  [
    'nix-builder@b1: Permission denied (publickey).',
    "'b1' does not accept the key for user 'nix-builder'",
    'its set-up tasks write the keys',
  ],
  [
    'ssh: Could not resolve hostname b1.lan: Name or service not known',
    "does not know the name 'b1.lan'",
    'deployment.builder.hostName',
  ],
  [
    'ssh: connect to host b1.lan port 22: Connection refused',
    'no ssh server answers at b1.lan:22',
    'deployment.builder.port',
  ],
  [
    'ssh: connect to host b1.lan port 22: Connection timed out',
    "'b1.lan' does not answer",
    'hydra-ops check --on b1',
  ],
  [
    'ssh: connect to host b1.lan port 22: No route to host',
    "'b1.lan' does not answer",
    'hydra-ops check --on b1',
  ],
  [
    "error: serialised integer 7161674624452356180 is too large for type 'j'",
    'the login shell prints "This acc"',
    'no nologin',
  ],
  [
    "error: 'nix-store --serve' protocol mismatch from 'nix-builder@b1', got 'Welcome to b1'",
    'the login shell prints "Welcome to b1" before Nix speaks',
    'no nologin',
  ],
  ['sh: 1: nix-store: not found', "user 'nix-builder' has no nix-store on the PATH", 'install Nix'],
  [
    'error: getting status of /nix/var/nix/daemon-socket/socket: Permission denied',
    "user 'nix-builder' may not use the Nix daemon",
    'group nix-users',
  ],
]

describe('a failed login to a builder', () => {
  it.each(texts)('that says %j has its cause and its remedy', (text, why, hint) => {
    const cause = loginCause(text, login)
    expect(cause?.why).toContain(why)
    expect(cause?.hint).toContain(hint)
  })

  it.each([
    ['Host key for b1.lan has changed', 'put its new key into the line of the builder'],
    ['Host key verification failed.', "base64 -w0 prints ssh_host_ed25519_key.pub of 'b1.lan'"],
    ['Load key "/k": Permission denied', 'chown hydra-queue-runner /etc/hydra/builders-key/key; chmod 600'],
    [
      'Identity file /k not accessible: No such file',
      "ssh-keygen -t ed25519 -N '' -f /etc/hydra/builders-key/key",
    ],
    ['Permission denied (publickey).', "authorized_keys of 'nix-builder' on 'b1.lan'"],
    ['Could not resolve hostname b1.lan', 'in its hosts file or in the DNS'],
    ['Connection refused', "in a block for 'b1.lan'"],
    ['No route to host', "allow connections to 'b1.lan' in the firewall"],
    ['daemon-socket/socket: Permission denied', "add 'nix-builder' to the group nix-users on 'b1.lan'"],
  ])('that says %j has a remedy for a builder of somebody else', (text, byHand) => {
    expect(loginCause(text, login)?.byHand).toContain(byHand)
  })

  it('keeps the words of ssh beside the cause', () => {
    const error = failure('COMMAND', 'it failed', { machine, detail: 'ssh: Connection refused' })
    expect(loginFailure(error, { machine, what, ...login })).toMatchObject({
      code: 'BUILDER_LOGIN',
      message: `machine 'ci': cannot ${what}: no ssh server answers at b1.lan:22`,
      detail: 'ssh: Connection refused',
    })
  })

  it('stays as it is if nobody knows the cause, and if the user ended the run', () => {
    const other = failure('COMMAND', 'something else', { machine })
    expect(loginFailure(other, { machine, what, ...login })).toBe(other)
    const ended = failure('INTERRUPTED', 'Connection refused', { machine })
    expect(loginFailure(ended, { machine, what, ...login })).toBe(ended)
  })
})

it('the characters that Nix took for a number are the beginning of what the shell printed', () => {
  const number = (text: string) => Buffer.from(text.padEnd(8, '\0')).readBigUInt64LE().toString()
  expect(firstCharacters(number('Welcome '))).toBe('Welcome ')
  expect(firstCharacters(number('hi\n'))).toBe('hi\n')
})

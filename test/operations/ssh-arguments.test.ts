import { describe, expect, it } from 'vitest'
import { placesOf } from '../../src/operations/scp.js'
import { splitSshArguments, splitWho } from '../../src/operations/ssh-session.js'

describe('the list of words after the machine', () => {
  it.each([
    [[], [], []],
    [['uptime'], [], ['uptime']],
    [['--', 'ls', '-l'], [], ['ls', '-l']],
    [['ls', '-l'], [], ['ls', '-l']],
    [['-t', 'htop'], ['-t'], ['htop']],
    [['-tt', '--', 'htop', '--', 'x'], ['-tt'], ['htop', '--', 'x']],
    [['-L', '8080:localhost:80', '-N'], ['-L', '8080:localhost:80', '-N'], []],
    [['-L8080:localhost:80'], ['-L8080:localhost:80'], []],
    [['-NL', '1:h:2'], ['-NL', '1:h:2'], []],
    [['-o', 'SendEnv=A', 'env'], ['-o', 'SendEnv=A'], ['env']],
    [['-'], [], ['-']],
    [['echo $HOME; ls "a b"'], [], ['echo $HOME; ls "a b"']],
  ])('is divided as ssh would: %j', (args, flags, command) => {
    expect(splitSshArguments(args)).toEqual({ flags, command })
  })

  it.each([['-d'], ['-F'], ['-p'], ['--yes'], ['-tz'], ['-G']])(
    'is refused with a flag that does not suit a machine of ours: %s',
    (flag) => {
      expect(() => splitSshArguments([flag, 'lab'])).toThrow(
        `hydra-ops cannot pass the flag '${flag}' to ssh`,
      )
    },
  )

  it('is refused with a flag that lacks its value', () => {
    expect(() => splitSshArguments(['-L'])).toThrow('the flag -L of ssh needs a value')
  })
})

describe('the word for user and machine', () => {
  it.each([
    ['web', undefined, 'web'],
    ['alice@web', 'alice', 'web'],
    ['alice@example.org@web', 'alice@example.org', 'web'],
    ['svc$@web', 'svc$', 'web'],
  ])('is divided into its parts: %s', (who, user, machine) => {
    expect(splitWho(who)).toEqual({ user, machine })
  })

  it.each(['-oProxyCommand=x@web', '@web', 'a b@web', '$(x)@web'])(
    'is refused when ssh could read more into it: %s',
    (who) => {
      expect(() => splitWho(who)).toThrow('is not a valid name of a user')
    },
  )
})

describe('paths of scp', () => {
  const request = { deployment: undefined, from: undefined, to: undefined }
  const here = (path: string) => ({ user: undefined, machine: undefined, path })
  const on = (machine: string, path: string, user?: string) => ({ user, machine, path })

  it.each([
    [{ ...request, paths: ['web:/etc/hosts', '.'] }, [on('web', '/etc/hosts'), here('.')]],
    [{ ...request, paths: ['a', 'b', 'root@web:/tmp'] }, [here('a'), here('b'), on('web', '/tmp', 'root')]],
    [{ ...request, paths: ['web:x', 'db:y'] }, [on('web', 'x'), on('db', 'y')]],
    [{ ...request, paths: ['./a:b', 'web:'] }, [here('./a:b'), on('web', '')]],
    [{ ...request, from: 'web', paths: ['/a', '/b', '.'] }, [on('web', '/a'), on('web', '/b'), here('.')]],
    [{ ...request, to: 'web', paths: ['a:b', '/tmp'] }, [here('a:b'), on('web', '/tmp')]],
  ])('are distinguished: %j', (given, expected) => {
    expect(placesOf(given)).toEqual(expected)
  })

  it.each([
    [{ ...request, paths: ['a', 'b'] }, 'no path names a machine'],
    [{ ...request, paths: ['web:a'] }, 'scp needs a source and a destination'],
    [{ ...request, from: 'a', to: 'b', paths: ['x', 'y'] }, 'cannot be used together'],
  ])('are refused: %j', (given, sentence) => {
    expect(() => placesOf(given)).toThrow(sentence)
  })
})

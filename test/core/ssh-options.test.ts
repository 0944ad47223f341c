import { describe, expect, it } from 'vitest'
import { readSshOptions } from '../../src/core/ssh-options.js'

const refused = (...options: string[]) => readSshOptions(options).refused

describe('deployment.sshOptions', () => {
  it.each([
    [['-F', 'x'], "'-F' names another configuration file, but hydra-ops reads only yours"],
    [['-F x'], "'-F' names another configuration file"],
    [['-Fx'], "'-F' names another configuration file"],
    [['-L', '8080:localhost:80'], "'-L' is only for a single call of ssh"],
    [['-N'], "'-N' is only for a single call of ssh"],
    [['-p'], "'-p' has no value"],
    [['-o'], "'-o' has no value"],
    [['-p', 'ssh'], "'ssh' is not a port"],
    [['Port=70000'], "'70000' is not a port"],
    [['-J', '-oProxyCommand=id'], "'-oProxyCommand=id' is not a jump host"],
    [['-o', 'ProxyJump=a b'], "'a b' is not a jump host"],
    [['nonsense'], "'nonsense' is not an option of ssh; write the option as"],
    [['--verbose'], "'--verbose' is not an option of ssh"],
    [[''], "'' is not an option of ssh"],
    [['-o', 'Compresion=yes'], "'Compresion' is not a keyword of ssh_config(5); did you mean 'Compression'?"],
    [['-o', 'Host=*'], "'Host' begins or reads other parts of a configuration"],
    [['-o', 'Include=other'], "'Include' begins or reads other parts of a configuration"],
    [['-o', 'RemoteCommand=tmux'], "'RemoteCommand' would keep hydra-ops from running commands"],
    [['-o', 'Compression=yes\nHost *'], "the value of 'Compression' has more than one line"],
  ])('refuses %j with a sentence of its own', (options, sentence) => {
    expect(refused(...options)).toEqual([expect.stringContaining(sentence)])
  })

  it('refuses every word that cannot be followed, each once, and reads the others', () => {
    const { options, refused: sentences } = readSshOptions([
      '-F',
      'x',
      '-p',
      '22',
      '-W',
      'h:1',
      '-o',
      'Prt=1',
    ])
    expect(options).toEqual([{ keyword: 'Port', value: '22' }])
    expect(sentences.map((sentence) => sentence.split("'")[1])).toEqual(['-F', '-W', 'Prt'])
  })

  it('takes keywords as ssh does, whatever their case', () => {
    expect(refused('-o', 'COMPRESSION=yes', 'serveraliveinterval 5', '-oUseKeychain=yes')).toEqual([])
  })
})

import { spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { activationProgram } from '../fakes/scratch-machine.js'
import { deploy, disposeMachines, machine, spawnLink } from './scratch-machines.js'

afterEach(disposeMachines)

describe('the activation of files', () => {
  it('writes texts and sources with their modes, and folders as needed', () => {
    const m = machine()
    const source = join(m.folder, 'source')
    writeFileSync(source, 'from the store\n')
    const output = deploy(m, {
      files: {
        '/etc/app/conf.d/a b': { text: 'x\n', mode: '0640' },
        '/opt/tool.conf': { source, mode: '4755' },
      },
    })
    expect(m.tree()['/etc/app/conf.d/a b']).toBe('640 x\n')
    expect(m.tree()['/opt/tool.conf']).toBe('4755 from the store\n')
    expect(m.tree()['/etc/app']).toBe('755 folder')
    expect(output).toBe('file /etc/app/conf.d/a b written\nfile /opt/tool.conf written\nresult 0\n')
  })

  it('writes nothing the second time', () => {
    const m = machine()
    const wanted = { files: { '/etc/a': 'a' }, programs: ['tool'], hosts: [['10.0.0.1', 'db']] as const }
    const closure = m.closure(wanted)
    m.activate(closure)
    expect(m.activate(closure).output).toBe('result 0\n')
  })

  it('corrects content, mode and kind after changes by hand', () => {
    const m = machine()
    const closure = m.closure({ files: { '/etc/a': 'a', '/etc/b': 'b', '/etc/c': 'c' } })
    m.activate(closure)
    m.write('/etc/a', 'changed')
    chmodSync(m.path('/etc/b'), 0o666)
    m.write('/etc/elsewhere', 'untouched')
    spawnLink(m, '/etc/c', m.path('/etc/elsewhere'))
    expect(m.activate(closure).output).toBe(
      'file /etc/a written\nfile /etc/b written\nfile /etc/c written\nresult 0\n',
    )
    expect(m.read('/etc/elsewhere')).toBe('untouched')
  })

  it('removes dropped files, and the folders made for them, unless something else is in them', () => {
    const m = machine()
    const before = m.tree()
    deploy(m, { files: { '/etc/a/b/c': '1', '/etc/x/y': '2' } })
    m.write('/etc/x/mine', 'of the admin')
    deploy(m, {})
    expect(m.tree()).toEqual({ ...before, '/etc/x': '755 folder', '/etc/x/mine': '644 of the admin' })
  })

  it('restores the former file or link, also after several closures', () => {
    const m = machine()
    m.write('/etc/motd', 'welcome', 0o600)
    symlinkSync('../run/resolv.conf', m.path('/etc/resolv.conf'))
    const before = m.tree()
    deploy(m, { files: { '/etc/motd': 'ours', '/etc/resolv.conf': 'ours' } })
    deploy(m, { files: { '/etc/motd': 'ours again', '/etc/resolv.conf': 'ours' } })
    const output = deploy(m, {})
    expect(m.tree()).toEqual(before)
    expect(output).toContain('file /etc/motd put back as it was before\n')
  })

  it('keeps the original when a path is dropped and wanted again', () => {
    const m = machine()
    m.write('/etc/motd', 'welcome')
    for (const text of ['one', 'two']) {
      deploy(m, { files: { '/etc/motd': text } })
      deploy(m, {})
      expect(m.read('/etc/motd')).toBe('welcome')
    }
  })

  it('can turn a file into a folder of files and back', () => {
    const m = machine()
    deploy(m, { files: { '/etc/app': 'one file' } })
    deploy(m, { files: { '/etc/app/part': 'many files' } })
    expect(m.read('/etc/app/part')).toBe('many files')
    deploy(m, { files: { '/etc/app': 'one file' } })
    expect(m.read('/etc/app')).toBe('one file')
  })

  it('reports every reason why it cannot begin, and changes nothing', () => {
    const m = machine()
    mkdirSync(m.path('/etc/folder'))
    m.write('/etc/file', '')
    m.write('/usr/local/bin/tool', 'of the admin')
    const before = m.tree()
    const closure = m.closure({
      files: {
        '/etc/folder': '',
        '/etc/file/below': '',
        '/etc/nobody': { text: '', user: 'no-such-user' },
        '/etc/gone': { source: '/no/such/source' },
        '/etc/good': 'good',
      },
      programs: ['tool', 'other'],
    })
    const result = m.activate(closure)
    expect(result.code).toBe(1)
    expect(result.output.split('\n')).toEqual([
      'error: /etc/file/below cannot be made: /etc/file is not a folder here',
      'error: /etc/folder is a folder here',
      'error: the source of /etc/gone is not a file: /no/such/source',
      "error: the owner of /etc/nobody does not exist here: user 'no-such-user', group 'root'",
      'error: /usr/local/bin/tool is there already and not ours: remove it, or leave its package out of deployment.packages',
      'result 1',
      '',
    ])
    expect(m.tree()).toEqual(before)
  })

  it('refuses a truncated manifest, and a damaged record of ours', () => {
    const m = machine()
    const closure = m.closure({ files: { '/etc/a': 'a' } })
    const manifest = join(closure, 'manifest.nix')
    writeFileSync(manifest, '["file","/etc/a","0644","root","root","a"]\n')
    expect(m.activate(closure)).toMatchObject({
      code: 1,
      output: expect.stringContaining('last record is missing'),
    })
    writeFileSync(manifest, '["file","/etc/a","0644","root","root","a"]\n["end","40"]\n')
    expect(m.activate(closure)).toMatchObject({
      code: 1,
      output: expect.stringContaining('43 bytes of records'),
    })
    deploy(m, { files: { '/etc/a': 'a' } })
    writeFileSync(m.path('/var/lib/hydra-ops/managed'), '')
    expect(m.activate(m.closure({}))).toMatchObject({
      code: 1,
      output: expect.stringContaining('managed is damaged'),
    })
    expect(m.read('/etc/a')).toBe('a')
  })
})

describe('the activation of programs of packages', () => {
  it('links them into the PATH of everybody, and follows the closure', () => {
    const m = machine()
    expect(deploy(m, { programs: ['one', 'two', '.hidden'] })).toBe(
      'program one added\nprogram two added\nresult 0\n',
    )
    const next = m.closure({ programs: ['two', 'three'] })
    expect(m.activate(next).output).toBe('program one removed\nprogram three added\nresult 0\n')
    expect(readlinkSync(m.path('/usr/local/bin/two'))).toBe(join(next, 'bin/two'))
    expect(m.exists('/usr/local/bin/.hidden')).toBe(false)
  })

  it('recognises a link of an earlier closure as its own even when the record is lost', () => {
    const m = machine()
    symlinkSync('/nix/store/aaaa-hydra-ops-web/bin/tool', m.path('/usr/local/bin/tool'))
    deploy(m, { programs: ['tool'] })
  })
})

describe('the activation of /etc/hosts', () => {
  it('writes a block of its own, and leaves the rest unchanged', () => {
    const m = machine()
    m.write('/etc/hosts', '127.0.0.1 localhost', 0o640)
    deploy(m, {
      hosts: [
        ['10.1.0.1', 'db db.lan'],
        ['10.1.0.2', 'web'],
      ],
    })
    m.write('/etc/hosts', `${m.read('/etc/hosts')}10.9.9.9 added-by-hand\n`, 0o640)
    deploy(m, { hosts: [['10.1.0.7', 'db']] })
    expect(m.read('/etc/hosts')).toBe(
      '127.0.0.1 localhost\n10.9.9.9 added-by-hand\n# hydra-ops: begin\n10.1.0.7 db\n# hydra-ops: end\n',
    )
    deploy(m, {})
    expect(m.tree()['/etc/hosts']).toBe('640 127.0.0.1 localhost\n10.9.9.9 added-by-hand\n')
  })
})

describe('the activation in a container', () => {
  it('writes /etc/hosts as a mount of its own, which no file can replace by a rename', () => {
    const m = machine()
    m.write('/etc/hosts', '127.0.0.1 localhost\n')
    m.write('/run/mounted', '127.0.0.1 localhost\n')
    const closure = m.closure({ hosts: [['10.1.0.1', 'db']] })
    const script = 'mount --bind "$1/run/mounted" "$1/etc/hosts" && exec perl "$2" "$3" --root "$1"'
    const argv = ['--map-root-user', '--mount', 'sh', '-c', script, 'sh', m.root, activationProgram, closure]
    const ended = spawnSync('unshare', argv, { env: m.environment(), encoding: 'utf8' })
    expect(ended).toMatchObject({ status: 0, stdout: 'hosts written: db\nresult 0\n', stderr: '' })
    expect(m.read('/run/mounted')).toContain('10.1.0.1 db\n')
    expect(m.exists('/etc/.hydra-ops-staged')).toBe(false)
  })
})

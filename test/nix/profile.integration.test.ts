import { execFileSync } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { nixString } from '../../src/core/nix-string.js'
import { packageRoot } from '../../src/core/package-root.js'
import { activationProgram } from '../fakes/scratch-machine.js'
import { programPackage, ScratchNix, shellDerivation } from '../fakes/scratch-nix.js'

const scratch = new ScratchNix()
afterAll(() => scratch.dispose())

const profile = join(packageRoot(), 'nix/debian-profile.nix')
const tool = programPackage('tool')

function wanted(attributes: string): string {
  return `import ${profile} { name = "web"; ${attributes} }`
}

/** Builds a closure, and returns its store path. */
async function build(attributes: string): Promise<string> {
  const drv = await scratch.instantiate(wanted(attributes))
  return (await scratch.nix('nix-store', ['--realise', drv])).trim()
}

/** Returns the records that the activation program reads. */
function records(out: string): string[][] {
  const folder = mkdtempSync(join(scratch.folder, 'as-on-the-machine-'))
  copyFileSync(scratch.real(readlinkSync(scratch.real(`${out}/manifest.nix`))), join(folder, 'manifest.nix'))
  const printed = execFileSync('perl', [activationProgram, folder, '--print'], {
    encoding: 'utf8',
    maxBuffer: 16_000_000,
  })
  return printed.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
}

async function requisites(path: string): Promise<string[]> {
  const text = await scratch.nix('nix-store', ['--query', '--requisites', path])
  return text.trim().split('\n')
}

describe('a text with unusual bytes', () => {
  // A Nix string may contain every byte except NUL, but hydra-ops's inputs are UTF-8.
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }).filter((each) => !each.includes('\0')),
    fc
      .array(
        fc.constantFrom(
          '$(id)',
          '`id`',
          '"',
          "'",
          '\\',
          '\n',
          '\t',
          '\r',
          '${x}',
          ' ',
          '\u0081',
          '\u{1F600}',
          'ÿ',
        ),
      )
      .map((parts) => parts.join('')),
  )
  const part = text.filter((each) => !/[/]/.test(each) && !['', '.', '..'].includes(each))
  const files = fc.dictionary(
    fc.array(part, { minLength: 1, maxLength: 3 }).map((parts) => `/etc/${parts.join('/')}`),
    text,
    { minKeys: 1, maxKeys: 12 },
  )

  it.each([
    ['without a program but Nix', ''],
    ['through the shell, when a text names a package', `units."t.service".text = "\${${tool}}";`],
  ])('arrives exactly %s', { timeout: 300_000 }, async (_, more) => {
    await fc.assert(
      fc.asyncProperty(files, async (given) => {
        const json = nixString(JSON.stringify(given))
        const out = await build(
          `files = builtins.mapAttrs (_: text: { inherit text; }) (builtins.fromJSON ${json}); ${more}`,
        )
        const arrived = records(out).flatMap(([kind, path = '', , , , content = '']) =>
          kind === 'file' ? [[path, content]] : [],
        )
        expect(Object.fromEntries(arrived)).toEqual({ ...given })
      }),
      { numRuns: 12 },
    )
  })

  it('arrives exactly with a megabyte too', async () => {
    const out = await build(`
      files."/etc/long".text = builtins.concatStringsSep "" (builtins.genList (n: "line \${toString n} of many \\\\ \\"\\n") 40000);
      units."t.service".text = "\${${tool}}";`)
    const long = records(out).find(([, path]) => path === '/etc/long')?.[5] ?? ''
    expect(long.length).toBeGreaterThan(800_000)
    expect(long.split('\n')[39_999]).toBe('line 39999 of many \\ "')
  })
})

describe('the closure of a machine', () => {
  it('holds everything that its units, files and activation refer to', async () => {
    const out = await build(`
      units."a.service".text = "ExecStart=\${${programPackage('of-a-unit')}}/bin/x";
      files."/etc/f".text = "\${${programPackage('of-a-file')}}";
      files."/etc/g".source = ${shellDerivation('of-a-source', 'echo x > $out')};
      activate = ${programPackage('activate')};
      keep = [ "\${${programPackage('of-a-check')}}/bin/x" ];`)
    const names = (await requisites(out)).map((path) => path.replace(/^\/nix\/store\/[^-]*-/, '')).sort()
    expect(names).toEqual([
      ...['activate', 'hydra-ops-manifest', 'hydra-ops-program', 'hydra-ops-web'],
      ...['of-a-check', 'of-a-file', 'of-a-source', 'of-a-unit'],
    ])
    expect(readdirSync(scratch.real(out)).sort()).toEqual(['hydra-ops', 'manifest.nix'])
  })

  it('has a record for each wanted part', async () => {
    const out = await build(`
      files."/etc/a" = { text = "x"; mode = "0640"; user = "www-data"; group = "adm"; };
      units."a.service" = { text = "[Service]\\n"; enable = false; };
      aptPackages = [ "curl" "jq=1.6-2.1" ];
      hosts = [ { address = "10.1.0.1"; names = [ "db" "db.lan" ]; } ];`)
    expect(records(out)).toEqual([
      ['file', '/etc/a', '0640', 'www-data', 'adm', 'x'],
      ['unit', 'a.service', '', '[Service]\n', expect.stringMatching(/^[0-9a-f]{64}$/)],
      ['apt', 'curl'],
      ['apt', 'jq=1.6-2.1'],
      ['host', '10.1.0.1', 'db db.lan'],
    ])
  })

  it('changes a unit’s record when one of its triggers changes', async () => {
    const hashOf = async (trigger: string) => {
      const out = await build(`units."a.service" = { text = ""; restartTriggers = [ ${trigger} ]; };`)
      return records(out)[0]?.[4]
    }
    expect(await hashOf('"1"')).toBe(await hashOf('"1"'))
    expect(await hashOf('"1"')).not.toBe(await hashOf('"2"'))
    expect(await hashOf(programPackage('t', 'a'))).not.toBe(await hashOf(programPackage('t', 'b')))
  })

  it('is the same wherever the sources lie, for a file of any name', async () => {
    const paths = ['one', 'two'].map((folder) => {
      mkdirSync(join(scratch.folder, folder))
      const file = join(scratch.folder, folder, `${folder} .odd näme`)
      writeFileSync(file, 'same')
      return file
    })
    const outs = await Promise.all(
      paths.map((path) => build(`files."/etc/a".source = /. + ${nixString(path)};`)),
    )
    expect(outs[0]).toBe(outs[1])
  })

  it('leaves /etc/hosts to a file from the user', async () => {
    const out = await build(
      'files."/etc/hosts".text = "mine"; hosts = [ { address = "10.1.0.1"; names = [ "db" ]; } ];',
    )
    expect(records(out).map(([kind]) => kind)).toEqual(['file'])
  })
})

describe('the list of packages', () => {
  it('is merged into one folder of programs', async () => {
    const out = await build(
      `packages = [ ${programPackage('one')} ${programPackage('two')} "\${${programPackage('three')}}" ];`,
    )
    expect(readdirSync(scratch.real(`${out}/bin`)).sort()).toEqual(['one', 'three', 'two'])
  })

  it('gives precedence to a smaller meta.priority, as in a profile', async () => {
    const first = programPackage('tool', 'first')
    const second = programPackage('tool', 'second')
    const out = await build(`packages = [ ${first} (${second} // { meta.priority = 4; }) ];`)
    const program = scratch.real(readlinkSync(scratch.real(`${out}/bin/tool`)))
    expect(readFileSync(program, 'utf8')).toBe('second')
  })

  it('includes the outputs that meta.outputsToInstall names', async () => {
    const many = shellDerivation(
      'many',
      'for o in $out $man $dev; do mkdir -p $o/share/${o##*-}; echo x > $o/share/${o##*-}/file; done',
      'outputs = [ "out" "man" "dev" ];',
    )
    const out = await build(`packages = [ (${many} // { meta.outputsToInstall = [ "out" "man" ]; }) ];`)
    expect(readdirSync(scratch.real(`${out}/share`)).sort()).toEqual(['man', 'many'])
  })
})

describe('an impossible definition', () => {
  const folder = join(scratch.folder, 'sources')
  beforeEach(() => {
    mkdirSync(join(folder, 'sub'), { recursive: true })
    try {
      symlinkSync('sub', join(folder, 'link'))
    } catch {
      // The previous test created the link.
    }
  })

  it.each([
    ['files."relative".text = "";', 'deployment.files."relative": the path must begin with "/"'],
    ['files."/etc/../x".text = "";', 'must hold no empty part, "." or ".."'],
    ['files."/etc//x".text = "";', 'must hold no empty part, "." or ".."'],
    ['files."/etc/".text = "";', 'must hold no empty part, "." or ".."'],
    ['files."/nix/store/x".text = "";', 'this folder is reserved for the system or for hydra-ops'],
    ['files."/proc".text = "";', 'this folder is reserved for the system or for hydra-ops'],
    ['files."/etc/x" = { };', 'deployment.files."/etc/x": neither text nor source is given'],
    ['files."/etc/x" = { text = ""; source = ./.; };', 'give text or source, not both'],
    ['files."/etc/x" = { text = ""; mode = "rw"; };', 'expected an octal mode such as "0644", got "rw"'],
    ['files."/etc/x" = { text = ""; mode = 420; };', 'got a value of type int'],
    [
      'files."/etc/x".source = "/etc/passwd";',
      '"/etc/passwd" is a string, which Nix does not copy; write the source as a path, without quotes',
    ],
    [`files."/etc/x".source = ${folder}/gone;`, `${folder}/gone does not exist`],
    [`files."/etc/x".source = ${folder}/sub;`, `${folder}/sub is a folder; name its files one by one`],
    [`files."/etc/x".source = ${folder}/link;`, `${folder}/link is a symbolic link; name the file itself`],
    ['units."web".text = "";', 'and a suffix, as in "web.service"'],
    ['units."a/b.service".text = "";', "a unit's name has letters, digits"],
    ['units."a.service" = { };', 'deployment.units."a.service".text: is not given'],
  ])('is refused: %s', async (attributes, message) => {
    await expect(scratch.instantiate(wanted(attributes))).rejects.toMatchObject({
      detail: expect.stringContaining(message),
    })
  })
})

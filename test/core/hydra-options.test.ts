import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { check } from '../../nix/definition-errors.js'
import { isSecret } from '../../nix/key-options.js'
import { HydraOptions } from '../../src/core/hydra-options.js'
import { optionName } from '../../src/core/option-name.js'

const password = { generate: true }

function says(hydra: Record<string, unknown>): string[] {
  const result = check(HydraOptions, { enable: true, ...hydra }, ['deployment', 'hydra'], isSecret)
  return 'issues' in result ? result.issues.map(({ path, say }) => `${optionName(path)}: ${say}`) : []
}

describe('deployment.hydra', () => {
  it('needs only enable', () => {
    expect(HydraOptions.parse({ enable: true })).toMatchObject({
      port: 3000,
      listenHost: '127.0.0.1',
      database: { name: 'hydra' },
      cache: { enable: false, directory: '/var/lib/hydra/cache' },
      nginx: { enable: false, tls: 'none' },
      gc: { automatic: false },
      probe: true,
    })
  })

  it('accepts the example of the documentation', () => {
    expect(
      says({
        hostName: 'hydra.example.org',
        notificationSender: 'hydra@example.org',
        nixServe: { enable: true },
        nginx: { enable: true },
        cache: { enable: true },
        postfix: { enable: true },
        admin: {
          userName: 'alice',
          fullName: 'Alice Q. User',
          emailAddress: 'alice@example.org',
          password: { command: ['pass', 'hydra/alice'] },
        },
      }),
    ).toEqual([])
  })

  it.each<[Record<string, unknown>, RegExp]>([
    [{ hostName: 'hydra_ci' }, /^deployment\.hydra\.hostName: expected a host name/],
    [{ hostName: 'hydra.example.org;' }, /hostName: expected a host name/],
    [{ hostName: '-a' }, /hostName: expected a host name/],
    [{ hostName: `${'a'.repeat(64)}.org` }, /hostName: expected a host name/],
    [{ url: 'https://example.org/hydra' }, /url: expected a URL without a path/],
    [
      { url: 'http://hydra.example.org', nginx: { enable: true, tls: 'self-signed' } },
      /url: begins with http:\/\/, but nginx\.tls encrypts/,
    ],
    [{ port: 0 }, /port: expected a number of at least 1/],
    [{ port: 80 }, /port: expected a number of at least 1024: hydra-server is not root/],
    [{ nixServe: { enable: true, port: 443 } }, /nixServe\.port: .*nix-serve is not root/],
    [{ nixServe: { enable: true, port: 3000 } }, /nixServe\.port: is the port of hydra-server/],
    [
      {
        hostName: 'hydra.example.org',
        nginx: { enable: true, cacheHostName: 'hydra.example.org' },
      },
      /nginx\.cacheHostName: is a name of Hydra itself/,
    ],
    [
      { nginx: { enable: true, serverAliases: ['c.example.org'], cacheHostName: 'c.example.org' } },
      /nginx\.cacheHostName: is a name of Hydra itself/,
    ],
    [
      { hostName: 'Hydra.example.org', nginx: { enable: true, cacheHostName: 'hydra.Example.org' } },
      /nginx\.cacheHostName: is a name of Hydra itself/,
    ],
    [
      { url: 'https://ci.example.org:8443', nginx: { enable: true, cacheHostName: 'CI.example.org' } },
      /nginx\.cacheHostName: is a name of Hydra itself/,
    ],
    [
      { nginx: { enable: true, cacheHostName: 'localhost' } },
      /nginx\.cacheHostName: is a name of Hydra itself/,
    ],
    [{ listenHost: '*' }, /listenHost: expected an IP address/],
    [{ package: 'hydra' }, /package: expected a derivation or a store path, got "hydra"/],
    [{ database: { name: 'Hydra; drop' } }, /database\.name: expected small letters/],
    [{ cache: { secretKeyFile: '/etc/a b' } }, /cache\.secretKeyFile: expected an absolute path/],
    [{ extraEnv: { 'A-B': 'x' } }, /extraEnv/],
    [{ extraEnv: { A: 'x\nUser=root' } }, /extraEnv/],
    [{ tracker: 'a\nuse-substitutes = 1' }, /tracker: expected text on one line/],
    [{ tracker: 'swallows the next line \\' }, /tracker: .*which hydra\.conf cannot hold/],
    [{ tracker: '<script>/* x */</script>' }, /tracker: .*which hydra\.conf cannot hold/],
    [{ tracker: '<link href="/x.css" />' }, /tracker: .*which hydra\.conf cannot hold/],
    [{ tracker: '<p>x</p><br/> ' }, /tracker: .*which hydra\.conf cannot hold/],
    [{ hostName: 'hydra.example.org\n' }, /hostName: expected a host name/],
    [{ hostName: 'hydra example.org' }, /hostName: expected a host name/],
    [{ hostName: 'hydra.exämple.org' }, /hostName: expected a host name/],
    [{ hostName: '$host' }, /hostName: expected a host name/],
    [{ hostName: 'hydra..org' }, /hostName: expected a host name/],
    [{ nginx: { enable: true, serverAliases: ['a b'] } }, /serverAliases\.0: expected a host name/],
    [{ nginx: { enable: true, cacheHostName: 'cache;' } }, /cacheHostName: expected a host name/],
    [{ users: { bob: { password, roles: ['amdin'] } } }, /users\.bob\.roles.*: expected "admin"/],
    [{ package: '/nix/store/00000000000000000000000000000000-a b' }, /package: expected a derivation/],
    [{ nginx: { enable: true, tls: 'yes' } }, /nginx\.tls: expected "none" or "self-signed"/],
    [{ nginx: { enable: true, tls: 'files' } }, /tls = "files" needs tlsCertificate and tlsKey/],
    [{ nginx: { enable: true, tls: 'acme' } }, /tls = "acme" needs acmeEmail/],
    [{ nginx: { tls: 'self-signed' } }, /needs nginx.enable = true/],
    [{ nginx: { enabel: true } }, /nginx\.enabel: unknown option; did you mean 'enable'\?/],
    [{ admin: { userName: 'al ice', password } }, /admin\.userName: expected a user name/],
    [{ admin: { userName: 'alice' } }, /admin\.password: the value is missing/],
    [
      { admin: { userName: 'alice', password, roles: ['root'] } },
      /roles\[?.*: expected "admin" or "create-projects"/,
    ],
    [
      { users: { bob: { password: {} } } },
      /users\.bob\.password: expected exactly one of file, command, prompt and generate, got none/,
    ],
    [{ users: { bob: { password: { prompt: true, generate: true } } } }, /got prompt and generate/],
    [
      { admin: { userName: 'bob', password }, users: { bob: { password } } },
      /is the same user as admin\.userName/,
    ],
    [
      { buildMachines: [{ hostName: '127.0.0.1', systems: ['x86_64-linux'] }] },
      /the machine itself is called "localhost"/,
    ],
    [{ buildMachines: [{ hostName: 'b', systems: [] }] }, /systems: expected at least 1 element/],
  ])('refuses %j', (hydra, sentence) => {
    expect(says(hydra).join('\n')).toMatch(sentence)
  })

  it('never shows a password that was written in place of its source', () => {
    const [say] = says({ admin: { userName: 'alice', password: 'hunter2' } })
    expect(say).toContain('deployment.hydra.admin.password')
    expect(say).not.toContain('hunter2')
  })

  it('has a description and an example for each option', () => {
    const bare: string[] = []
    const visit = (name: string, schema: unknown): void => {
      const option = z
        .looseObject({ properties: z.record(z.string(), z.unknown()).optional() })
        .safeParse(schema)
      for (const [key, each] of Object.entries(option.data?.properties ?? {})) {
        const described = z
          .looseObject({ description: z.string().min(1), examples: z.array(z.unknown()).length(1) })
          .safeParse(each)
        if (!described.success) bare.push(`${name}${key}`)
        visit(`${name}${key}.`, each)
      }
    }
    visit('', z.toJSONSchema(HydraOptions, { io: 'input', unrepresentable: 'any' }))
    expect(bare).toEqual([])
  })
})

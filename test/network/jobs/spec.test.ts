import { describe, expect, it } from 'vitest'
import { inputsIn, renderSpec, type SpecOptions } from '../../../src/network/jobs/spec.js'

const network = { type: 'git', value: 'https://git.example.org/net.git main' }
const options: SpecOptions = {
  ...{ jobsets: 'one', machines: ['web'], gone: [], jobset: 'main', folder: 'hydra' },
  inputs: { network },
  replaced: {},
}
const render = (changed: Partial<SpecOptions>, existing?: string) =>
  renderSpec({ ...options, ...changed }, existing, 'hydra/spec.json')
const read = (text: string): Record<string, Record<string, unknown>> => JSON.parse(text)

describe('hydra/spec.json', () => {
  it('has one jobset of all machines, with every key that Hydra wants and no other', () => {
    expect(read(render({}))).toEqual({
      main: {
        ...{ enabled: 1, hidden: false, description: 'All machines of the network' },
        ...{ nixexprinput: 'network', nixexprpath: 'hydra/default.nix', checkinterval: 300 },
        ...{ schedulingshares: 100, enableemail: false, emailoverride: '', keepnr: 3 },
        inputs: { network: { ...network, emailresponsible: false } },
      },
    })
  })

  it("has one jobset of each machine for Morph's networks, which Hydra looks at each hour", () => {
    const spec = read(render({ jobsets: 'each', machines: ['db', 'web.example.org'], folder: 'ops/hydra' }))
    expect(Object.entries(spec).map(([name, jobset]) => [name, jobset.nixexprpath])).toEqual([
      ['db', 'ops/hydra/db.nix'],
      ['web-example-org', 'ops/hydra/web.example.org.nix'],
    ])
    expect(spec.db).toMatchObject({ checkinterval: 3600 })
  })

  it('keeps what somebody changed, and jobsets of somebody else', () => {
    const mine = JSON.stringify({ other: { nixexprpath: 'hydra/x.nix' }, main: { checkinterval: 60 } })
    expect(render({}, mine)).toBe(mine)
    const both = read(render({ jobsets: 'each' }, mine))
    expect(both).toMatchObject({ main: { checkinterval: 60 }, other: {}, web: { checkinterval: 3600 } })
  })

  it('loses the jobset of a machine that is gone', () => {
    const before = render({ jobsets: 'each', machines: ['db', 'web'] })
    expect(Object.keys(read(render({ jobsets: 'each', gone: ['db'] }, before)))).toEqual(['web'])
  })

  it.each(['{ "main": ', '[]', '{ "main": 1 }'])('is refused if it is %s', (text) => {
    expect(() => render({}, text)).toThrow(
      'hydra/spec.json is not a list of jobsets: expected a JSON object of objects',
    )
  })

  it('refuses two machines whose jobsets would have one name', () => {
    expect(() => render({ jobsets: 'each', machines: ['a-b', 'a.b'] })).toThrow(
      "machines 'a-b' and 'a.b' would share jobset 'a-b'",
    )
  })

  it('reports the inputs that its jobsets have', () => {
    const text = JSON.stringify({ a: { inputs: { x: {} } }, b: { inputs: { y: {} } }, c: {} })
    expect([...inputsIn(text, '')]).toEqual(['x', 'y'])
    expect([...inputsIn(undefined, '')]).toEqual([])
  })
})

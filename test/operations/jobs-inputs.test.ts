import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { db, form, type JobsCheckout, jobsCheckout, url, web } from './jobs-checkout.js'

let net: JobsCheckout
beforeEach(async () => {
  net = await jobsCheckout()
})
afterEach(() => net.dispose())

const morph = { ...form, layout: 'morph', namesNixpkgs: true } as const
const stable = 'https://git.example.org/nixpkgs.git stable'
const spec = () => net.json('spec.json')
const edit = (change: (spec: Record<string, Record<string, unknown>>) => void) => {
  const value = spec()
  change(value)
  writeFileSync(join(net.root, 'hydra/spec.json'), JSON.stringify(value))
}

describe('a jobset that hydra jobs init adds later', () => {
  it('has the inputs of its neighbours for a new machine of Morph', async () => {
    net.network({ form: morph })
    await net.init({ nixpkgs: stable })
    edit(({ web }) => {
      web?.inputs && Object.assign(web.inputs, { evaluator: { type: 'string', value: 'morph' } })
    })
    const { inputs } = spec().web ?? {}
    net.network(fakeNetwork([web, db, fakeMachine('zz')], { form: morph }))
    await net.init()
    expect(spec().zz).toMatchObject({ nixexprpath: 'hydra/zz.nix', inputs: spec().db?.inputs })
    expect(spec().web?.inputs).toEqual(inputs)
    expect(spec().zz).toMatchObject({
      inputs: { nixpkgs: { value: stable }, network: { value: `${url} main` } },
    })
  })

  it('has the inputs of the former jobset after network.hydra.jobset has changed', async () => {
    await net.init({ repository: '/srv/net.git release' })
    net.network({ hydra: { jobset: 'other' } })
    await net.init()
    expect(spec().other).toMatchObject({ inputs: { network: { value: '/srv/net.git release' } } })
  })

  it('asks git for the address if the other jobsets belong to somebody else', async () => {
    await net.init()
    edit((all) => {
      all.foreign = { nixexprpath: 'ci/x.nix', inputs: { network: { type: 'git', value: '/srv/x.git' } } }
      delete all.main
    })
    await net.init()
    expect(spec().main).toMatchObject({ inputs: { network: { value: `${url} main` } } })
  })

  it('never gets an address that a damaged neighbour lacks', async () => {
    await net.init()
    edit((all) => {
      all.old = { ...all.main, inputs: { network: { type: 'git', value: '' } } }
      delete all.main
    })
    await net.init()
    expect(spec().main).toMatchObject({ inputs: { network: { value: `${url} main` } } })
  })
})

it('a complete spec.json needs no answer of git', async () => {
  await net.init()
  net.gitSays.clear()
  expect(await net.init()).toMatchObject({ written: [] })
})

describe('a flag of hydra jobs init', () => {
  it('replaces that input of the jobsets of this network alone', async () => {
    await net.init({ nixpkgs: stable })
    edit((all) => {
      all.foreign = { nixexprpath: 'ci/x.nix', inputs: { nixpkgs: { type: 'git', value: 'theirs' } } }
      Object.assign(all.main ?? {}, { checkinterval: 60 })
    })
    const wanted = 'https://git.example.org/nixpkgs.git nixos-25.11'
    expect(await net.init({ nixpkgs: wanted, repository: '/srv/net.git main' })).toMatchObject({
      written: ['spec.json'],
    })
    expect(spec().main).toMatchObject({
      checkinterval: 60,
      inputs: { network: { value: '/srv/net.git main' }, nixpkgs: { value: wanted } },
    })
    expect(spec().foreign).toMatchObject({ inputs: { nixpkgs: { value: 'theirs' } } })
  })

  it('adds the input nixpkgs to a jobset that lacks it, and changes nothing the second time', async () => {
    await net.init()
    expect(await net.init({ nixpkgs: stable })).toMatchObject({ written: ['spec.json'] })
    expect(spec().main).toMatchObject({ inputs: { nixpkgs: { value: stable } } })
    const before = readFileSync(join(net.root, 'hydra/spec.json'), 'utf8')
    expect(await net.init({ nixpkgs: stable })).toMatchObject({ written: [] })
    expect(net.text('spec.json')).toBe(before)
  })
})

describe('hydra jobs init tells each value that it chose', () => {
  it('names the remote of the repository with its branch, and the nixpkgs that is a guess', async () => {
    net.network({ form: { ...form, namesNixpkgs: true } })
    expect(await net.init()).toMatchObject({
      chosenInputs: {
        network: `${url} main`,
        nixpkgs: 'https://github.com/NixOS/nixpkgs.git nixos-unstable',
      },
    })
    expect(await net.init()).toMatchObject({ chosenInputs: {} })
  })

  it('names no value of a flag', async () => {
    const { chosenInputs } = await net.init({ repository: '/srv/net.git main', nixpkgs: stable })
    expect(chosenInputs).toEqual({})
  })
})

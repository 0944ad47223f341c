import { describe, expect, it } from 'vitest'
import type { JobsetOptions, ProjectOptions } from '../../../src/core/hydra-project-options.js'
import {
  differences,
  jobsetBody,
  projectBody,
  SeenJobset,
  SeenProject,
  targetJobset,
  targetProject,
} from '../../../src/setup/hydra/project-state.js'
import { type Recording, readRecordings } from '../../hydra/recordings.js'

const recordings = readRecordings()
function recording(name: string): Recording {
  const found = recordings.get(name)
  if (found === undefined) throw new Error(`there is no recording ${name}`)
  return found
}

/** Hydra's recorded answers, as the API gives them. */
const recordedJobset = () => SeenJobset.parse(recording('jobset-get').response.body)
const recordedFlake = () => SeenJobset.parse(recording('jobset-get-flake').response.body)
const recordedProject = () => SeenProject.parse(recording('project-get-full').response.body)

const nixExpression = { input: 'network', path: 'release.nix' }
const at = { project: 'morph', name: 'main' }
const options: JobsetOptions = { nixExpression }
const project: ProjectOptions = { jobsets: {} }

describe('a jobset', () => {
  it('is sent back whole when one value changes', () => {
    const seen = recordedJobset()
    const target = targetJobset(at, { ...options, checkInterval: 60 }, seen, false)
    expect(differences(target, seen)).toEqual(['checkInterval'])
    const sent = recording('jobset-put-created').request.body
    expect(jobsetBody(target)).toEqual({ ...Object(sent), name: 'main', type: 0, checkinterval: 60 })
  })

  it('gets every value of the options, and no value of Hydra where an option has one', () => {
    const wanted: JobsetOptions = {
      nixExpression: { input: 'other', path: 'jobs.nix' },
      description: 'Nightly jobs',
      enabled: 'one-at-a-time',
      hidden: true,
      checkInterval: 7,
      schedulingShares: 8,
      keepEvaluations: 9,
      emailOverride: 'ops@example.org',
      notifyOnError: true,
      inputs: { other: { type: 'git', value: 'https://example.org/other', emailResponsible: true } },
    }
    expect(jobsetBody(targetJobset(at, wanted, recordedJobset(), false))).toEqual({
      name: 'main',
      description: 'Nightly jobs',
      type: 0,
      nixexprinput: 'other',
      nixexprpath: 'jobs.nix',
      enabled: 3,
      checkinterval: 7,
      schedulingshares: 8,
      keepnr: 9,
      emailoverride: 'ops@example.org',
      enableemail: true,
      inputs: { other: { type: 'git', value: 'https://example.org/other', emailresponsible: true } },
    })
  })

  it('keeps the mail settings of Hydra where the options leave them open', () => {
    const seen = { ...recordedJobset(), emailOverride: 'dev@example.org', notifyOnError: true }
    expect(jobsetBody(targetJobset(at, options, seen, false))).toMatchObject({
      emailoverride: 'dev@example.org',
      enableemail: true,
    })
  })

  it('differs in nothing when the options leave all open', () => {
    const seen = recordedJobset()
    expect(differences(targetJobset(at, options, seen, false), seen)).toEqual([])
  })

  it('never sends a false that Hydra takes for true', () => {
    const seen = { ...recordedJobset(), hidden: true, notifyOnError: false, dynamicRunCommand: false }
    const body = jobsetBody(targetJobset(at, options, seen, false))
    expect(Object.keys(body)).not.toEqual(expect.arrayContaining(['visible']))
    expect(body).not.toHaveProperty('enableemail')
    expect(body).not.toHaveProperty('enable_dynamic_run_command')
    expect(JSON.stringify(body)).not.toContain('emailresponsible')
  })

  it('keeps dynamic commands and mail to authors, which a request would switch off', () => {
    const seen = recordedJobset()
    const inputs = { network: { type: 'git', value: 'u', emailResponsible: true } }
    const body = jobsetBody(targetJobset(at, options, { ...seen, dynamicRunCommand: true, inputs }, false))
    expect(body).toMatchObject({
      enable_dynamic_run_command: true,
      inputs: { network: { type: 'git', value: 'u', emailresponsible: true } },
    })
  })

  it('changes from a flake to an expression, and back', () => {
    const flake = recordedFlake()
    const legacy = jobsetBody(targetJobset(at, options, flake, false))
    expect(legacy).toMatchObject({ type: 0, nixexprinput: 'network', nixexprpath: 'release.nix' })
    expect(legacy).not.toHaveProperty('flake')
    const body = jobsetBody(targetJobset(at, { flake: 'github:a/b' }, recordedJobset(), false))
    expect(body).toMatchObject({ type: 1, flake: 'github:a/b', inputs: {} })
    expect(body).not.toHaveProperty('nixexprinput')
  })

  it.each([
    ['first', 0, false, 2],
    ['evaluated', 0, true, 0],
    ['still due', 2, true, 2],
    ['changed by hand', 1, true, 2],
  ])('with one shot has the right state (%s)', (_, enabled, fired, expected) => {
    const seen = { ...recordedJobset(), enabled }
    expect(targetJobset(at, { ...options, enabled: 'one-shot' }, seen, fired).enabled).toBe(expected)
  })

  it.each([
    [false, 0],
    [true, 1],
    ['one-at-a-time' as const, 3],
  ])('is enabled as Hydra counts (%s)', (enabled, expected) => {
    expect(targetJobset(at, { ...options, enabled }, undefined, false).enabled).toBe(expected)
  })
})

describe('a project', () => {
  it('is sent back whole when one value changes', () => {
    const seen = recordedProject()
    const target = targetProject('morph', { ...project, hidden: true }, seen, 'bob')
    expect(differences(target, seen)).toEqual(['hidden'])
    expect(projectBody(target)).toEqual({
      name: 'morph',
      displayname: 'Morph fleet',
      description: 'All hosts of the fleet',
      homepage: 'https://example.org',
      owner: 'alice',
      enabled: true,
    })
  })

  it('gets every value of the options, and no value of Hydra where an option has one', () => {
    const seen = { ...recordedProject(), private: false, hidden: true, enabled: false }
    const wanted: ProjectOptions = {
      jobsets: {},
      displayName: 'Fleet',
      description: 'Machines of the fleet',
      homepage: 'https://fleet.example.org',
      owner: 'carol',
      enabled: true,
      hidden: false,
      private: true,
      declarative: { file: 'jobs.json', type: 'git', value: 'https://example.org/jobs' },
    }
    expect(projectBody(targetProject('morph', wanted, seen, 'bob'))).toEqual({
      name: 'morph',
      displayname: 'Fleet',
      description: 'Machines of the fleet',
      homepage: 'https://fleet.example.org',
      owner: 'carol',
      enabled: true,
      visible: true,
      private: true,
      declarative: { file: 'jobs.json', type: 'git', value: 'https://example.org/jobs' },
    })
  })

  it('stays private where the options leave that open, and becomes public on request', () => {
    const seen = { ...recordedProject(), private: true }
    expect(projectBody(targetProject('morph', project, seen, 'bob'))).toMatchObject({ private: true })
    const open = targetProject('morph', { ...project, private: false }, seen, 'bob')
    expect(projectBody(open)).not.toHaveProperty('private')
  })

  it('stays declarative while the options leave that open', () => {
    const seen = SeenProject.parse(recording('project-get-declarative').response.body)
    const open = targetProject('decl', project, seen, 'alice')
    expect(projectBody(open)).toMatchObject({ declarative: { file: 'spec.json', type: 'git' } })
    const jobsets = { main: options }
    expect(projectBody(targetProject('decl', { jobsets }, seen, 'alice'))).not.toHaveProperty('declarative')
  })

  it('is switched off by leaving the key out', () => {
    const off = projectBody(targetProject('p', { ...project, enabled: false }, undefined, 'alice'))
    expect(off).not.toHaveProperty('enabled')
    expect(off).toMatchObject({ name: 'p', displayname: 'p', owner: 'alice', visible: true })
  })
})

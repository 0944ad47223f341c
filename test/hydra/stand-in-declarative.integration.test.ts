import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type PrivatePostgres, startPostgres } from './private-postgres.js'
import { StandIns } from './stand-in-packages.js'

const standIns = new StandIns()
let postgres: PrivatePostgres
let env: Record<string, string>
let source: string

beforeAll(async () => {
  postgres = startPostgres()
  await standIns.build('hydra')
  env = await standIns.env({ ...postgres.env, HYDRA_DBI: 'dbi:Pg:dbname=hydra;user=hydra;' })
  expect(standIns.run('hydra', ['hydra-init'], env).status).toBe(0)
  postgres.sql("insert into users (username, emailaddress, password) values ('alice', '', '!')")
})
afterAll(async () => {
  await standIns.dispose()
  postgres?.stop()
})

/** Creates a folder for each test. Hydra does not read a known folder again within half a minute. */
beforeEach(() => {
  source = mkdtempSync(join(tmpdir(), 'ho-spec-'))
  postgres.sql(`delete from projects;
    insert into projects (name, displayname, owner, declfile, decltype, declvalue)
    values ('fleet', 'Fleet', 'alice', 'spec.json', 'path', '${source}');
    insert into jobsets (name, project, emailoverride, nixexprinput, nixexprpath) values ('.jobsets', 'fleet', '', '', '')`)
  return () => rmSync(source, { recursive: true, force: true })
})

const main = {
  ...{ enabled: 1, hidden: false, description: 'all', nixexprinput: 'network', nixexprpath: 'x.nix' },
  ...{ checkinterval: 60, schedulingshares: 100, enableemail: false, emailoverride: '', keepnr: 3 },
  inputs: { network: { type: 'path', value: '/srv/network', emailresponsible: false } },
}

function evaluate(spec: string) {
  writeFileSync(join(source, 'spec.json'), spec)
  return standIns.run('hydra', ['hydra-eval-jobset', 'fleet', '.jobsets'], env)
}
const jobsets = () =>
  postgres.sql("select name, enabled, hidden from jobsets where name <> '.jobsets' order by name").trim()
const error = () => postgres.sql("select errormsg from jobsets where name = '.jobsets'").trim()

describe('a declarative project', () => {
  it('makes the jobsets that the file lists', () => {
    expect(evaluate(JSON.stringify({ main })).status).toBe(0)
    expect(jobsets()).toBe('main|1|0')
    expect(postgres.sql('select input, value from jobsetinputalts').trim()).toBe('network|/srv/network')
  })

  it('switches off and hides a jobset that the file lists no longer', () => {
    postgres.sql(`insert into jobsets (name, project, emailoverride, nixexprinput, nixexprpath)
      values ('old', 'fleet', '', 'a', 'b')`)
    evaluate(JSON.stringify({ main }))
    expect(jobsets()).toBe('main|1|0\nold|0|1')
  })

  it('reports a jobset with an unknown key or without emailoverride, and makes the others', () => {
    const { emailoverride: _, ...short } = main
    const ended = evaluate(JSON.stringify({ main, odd: { ...main, colour: 'red' }, short }))
    expect(ended.stderr).toContain('ERROR: failed to process declarative jobset fleet:odd, invalid keys')
    expect(ended.stderr).toContain('ERROR: failed to process declarative jobset fleet:short')
    expect(jobsets()).toBe('main|1|0')
  })

  it.each([
    ['{ "main": ', 'not valid JSON'],
    ['[]', 'is not a dictionary'],
  ])('shows the mistake of the file %j as the error of .jobsets', (text, mistake) => {
    expect(evaluate(text).status).toBe(1)
    expect(error()).toContain(mistake)
    expect(jobsets()).toBe('')
  })

  it('names a missing file', () => {
    expect(standIns.run('hydra', ['hydra-eval-jobset', 'fleet', '.jobsets'], env).status).toBe(1)
    expect(error()).toContain("Couldn't read declarative specification file")
  })
})

import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { modifyDeployment } from '../../src/operations/modify.js'
import { fakeMachine, fakeNetwork } from '../fakes/fake-network.js'
import { db, form, type JobsCheckout, jobsCheckout } from './jobs-checkout.js'

let net: JobsCheckout
beforeEach(async () => {
  net = await jobsCheckout()
})
afterEach(() => net.dispose())

const refresh = 'hydra-ops hydra jobs init refreshes it'

describe('a secret file that git has', () => {
  const question = '--literal-pathspecs ls-files -z -- '
  const secrets = () => {
    const token = { keyFile: join(net.root, 'lab/token') }
    const outside = { keyFile: '/srv/secrets/other' }
    const web = fakeMachine('web', { deployment: { keys: { token, outside, text: { text: 'x' } } } })
    net.network(fakeNetwork([web, db], { form }))
  }
  const sentence =
    "machine 'web': git tracks the file lab/token of key 'token', so every user can read it in the Nix store. Keep it out of git: git rm --cached lab/token"

  it('is reported by jobs init, which asks about files of the repository alone', async () => {
    secrets()
    net.gitSays.set(`${question}lab/token`, 'lab/token\0')
    expect(await net.init()).toMatchObject({ secretsInGit: [sentence] })
    net.gitSays.set(`${question}lab/token`, '')
    expect(await net.init()).toMatchObject({ secretsInGit: [] })
  })

  it('is reported by each plan that evaluates from git, and by no other', async () => {
    secrets()
    net.gitSays.set(`${question}lab/token`, 'lab/token\0')
    expect(await net.notices()).toEqual([])
    await net.init()
    expect(await net.notices()).toEqual([sentence])
  })

  it("is reported for the password of a Hydra's user", async () => {
    const password = { file: join(net.root, 'alice.password') }
    const hydra = { enable: true, admin: { userName: 'alice', password } }
    net.network(fakeNetwork([fakeMachine('ci', { deployment: { hydra } })], { form }))
    net.gitSays.set(`${question}alice.password`, 'alice.password\0')
    const { secretsInGit } = await net.init()
    expect(secretsInGit).toEqual([
      expect.stringMatching(
        /^machine 'ci': git tracks the file alice\.password of the password of 'alice', /,
      ),
    ])
  })
})

describe('a plan reports on git', () => {
  const status = 'status --porcelain --untracked-files=no'
  const unpushed = 'rev-list --count @{upstream}..HEAD'
  const untracked = 'ls-files --others --exclude-standard -z -- hydra'

  it('changes of tracked files', async () => {
    await net.init()
    net.gitSays.set(status, ' M lab/net.nix\n')
    expect(await net.notices()).toEqual([
      `${net.root} has 1 file with uncommitted changes; Hydra builds the last commit. Run git commit`,
    ])
  })

  it('commits that nobody pushed', async () => {
    await net.init()
    net.gitSays.set(unpushed, '2\n')
    expect(await net.notices()).toEqual([
      `${net.root} has 2 unpushed commits; Hydra builds only pushed commits. Run git push`,
    ])
    net.gitSays.set(unpushed, '0\n')
    expect(await net.notices()).toEqual([])
  })

  it('files of the jobs that nobody added', async () => {
    await net.init()
    net.gitSays.set(untracked, 'hydra/web.nix\0hydra/db.nix\0')
    expect(await net.notices()).toEqual([
      `git does not track 2 files of ${join(net.root, 'hydra')}, so Hydra lacks them. Run git add`,
    ])
  })
})

describe('a plan reports stale jobs', () => {
  it('that evaluate other network files', async () => {
    await net.init()
    const file = join(net.root, 'lab/other.nix')
    writeFileSync(file, '{ }')
    const kept = { deployment: 'net', name: undefined, folder: '/', searchPath: [], args: {} }
    await modifyDeployment(net.ops, { ...kept, files: [file] })
    expect(await net.notices()).toEqual([
      `${join(net.root, 'hydra/default.nix')} evaluates files other than those of this deployment; ${refresh}`,
    ])
  })

  it('of a machine', async () => {
    await net.init()
    writeFileSync(join(net.root, 'hydra/web.nix'), net.text('web.nix').replace('web', 'db'))
    expect(await net.notices()).toEqual([
      `${join(net.root, 'hydra/web.nix')} is not the file of this version of hydra-ops; ${refresh}`,
    ])
  })
})

describe('hydra jobs init after a kill', () => {
  it('takes a folder without any complete file as its own, and removes drafts', async () => {
    const draft = 'settings.json.0123456789ab.tmp'
    mkdirSync(join(net.root, 'hydra/hydra-ops'), { recursive: true })
    writeFileSync(join(net.root, 'hydra/hydra-ops', draft), '{')
    writeFileSync(join(net.root, 'hydra/default.nix.0123456789ab.tmp'), '{')
    const mine = join(net.root, 'hydra/mine.0123456789ab.tmp')
    writeFileSync(mine, 'mine')
    const { removed } = await net.init()
    expect(removed).toEqual(['default.nix.0123456789ab.tmp', `hydra-ops/${draft}`])
    expect(net.contents().flat()).toContain('mine')
  })

  it('goes on where only its own settings exist', async () => {
    await net.init()
    rmSync(join(net.root, 'hydra/hydra-ops/nix'), { recursive: true })
    const { written } = await net.init()
    expect(written).toContain('hydra-ops/nix/eval.nix')
  })
})

describe('jobs init and the evaluation from git', () => {
  it('reports once that it changed the setting', async () => {
    expect(await net.init()).toMatchObject({ fromGit: true, changedFromGit: true })
    expect(await net.init()).toMatchObject({ fromGit: true, changedFromGit: false })
  })
})

import { describe, expect, it } from 'vitest'
import { bindTask, type SetupTask } from '../../../src/core/setup-task.js'
import { hydraTask } from '../../../src/setup/hydra/task.js'
import { adminUserTask } from '../../../src/setup/hydra/users-task.js'
import { nginxTask } from '../../../src/setup/nginx/task.js'
import { taskMachine } from '../../fakes/task-run.js'

const inputs = <Options>(task: SetupTask<Options>, hydra: Record<string, unknown>) =>
  bindTask(task)(taskMachine({ hydra: { enable: true, nginx: { enable: true }, ...hydra } }))?.inputs

const admin = (fullName: string) => ({
  admin: { userName: 'alice', fullName, password: { generate: true } },
  users: { bob: { fullName, password: { generate: true } } },
})

describe('a user of Hydra who is changed', () => {
  it('is a reason to run the task of users again, and no other one', () => {
    expect(inputs(adminUserTask, admin('A'))).not.toBe(inputs(adminUserTask, admin('B')))
    expect(inputs(hydraTask, admin('A'))).toBe(inputs(hydraTask, admin('B')))
    expect(inputs(nginxTask, admin('A'))).toBe(inputs(nginxTask, admin('B')))
    expect(inputs(hydraTask, { port: 3001 })).not.toBe(inputs(hydraTask, {}))
  })
})
